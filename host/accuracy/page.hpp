#pragma once
/// The tables of docs/accuracy.md.
#include <accuracy/measure.hpp>

#include <string>
#include <string_view>

namespace actium::accuracy {

/// One activation at its default parameters.
struct PageRow {
  std::string_view name;
  std::array<std::array<Figure, 3>, std::size(kDTypes)> figures;  ///< by dtype and order
  std::array<std::optional<Figure>, 2> naive;                     ///< in f32
};

/// Measured error and bound, error rounded up: "1.49 / 1.5".
std::string measured_and_bound(const Figure& figure);

std::string page_tables(const std::vector<PageRow>& rows);

/// `page` with what stands between the two markers replaced; empty where a marker is missing.
std::string with_tables(const std::string& page, const std::string& tables);
inline constexpr std::string_view kBeginTables = "<!-- begin: written by `actium accuracy --write` -->\n",
                                  kEndTables = "<!-- end -->\n";

}  // namespace actium::accuracy
