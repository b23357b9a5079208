#pragma once
/// The formulas that are usually written, in float with the host's libm.
#include <string_view>

namespace actium::accuracy {

/// Null where nobody writes it differently.
struct NaiveFormula {
  std::string_view name;
  float (*value)(float x);
  float (*slope)(float x);
};

/// The formulas for a kind at its default parameters; null where there are none.
const NaiveFormula* naive_formula(std::string_view name);

}  // namespace actium::accuracy
