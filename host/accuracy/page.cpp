#include <accuracy/page.hpp>

#include <cmath>
#include <cstdio>

namespace actium::accuracy {
namespace {

template <class... T>
std::string format(const char* pattern, T... arguments) {
  char text[200];
  std::snprintf(text, sizeof text, pattern, arguments...);
  return text;
}

const std::array<Figure, 3>& figures_of(const PageRow& row, DType dtype) {
  for (const auto& figures : row.figures)
    if (figures[0].dtype == dtype) return figures;
  return row.figures[0];
}

std::string naive(const std::optional<Figure>& figure) {
  if (!figure) return "";
  if (std::isinf(figure->ulp)) return "NaN";
  if (figure->ulp > 0x1p30) return "overflow";
  return format("%.2g", figure->ulp);
}

std::string share(const Figure& figure) { return format("%.2g %%", 100 * figure.misrounded_share()); }

/// Where these figures come from; a device that measured them would be named here.
constexpr const char* kSource = "model";

}  // namespace

std::string measured_and_bound(const Figure& figure) {
  const int digits = size_of(figure.dtype) == 2 ? 4 : 2;
  const double unit = std::pow(10.0, digits);
  if (!(figure.ulp < 1e6)) return format("%.2g / %g", figure.ulp, figure.bound);
  // Rounded up, but not past a bound that it is within.
  const double up = std::ceil(figure.ulp * unit * (1 - 1e-12)) / unit;
  return format("%.*f / %g", digits,
                figure.within_bound() ? std::min(up, std::max(figure.bound, figure.ulp)) : up, figure.bound);
}

std::string page_tables(const std::vector<PageRow>& rows) {
  std::string text =
      "### f32\n\n"
      "| activation | value | at x | misrounded | slope | at x | misrounded | curvature | at x | misrounded "
      "| "
      "naive value | naive slope | from |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const PageRow& row : rows) {
    text += "| " + std::string(row.name) + " |";
    for (const Figure& figure : figures_of(row, DType::kF32))
      text += " " + measured_and_bound(figure) + " | " + (figure.ulp > 0 ? format("%.6g", figure.x) : "") +
              " | " + share(figure) + " |";
    text += " " + naive(row.naive[0]) + " | " + naive(row.naive[1]) + " | " + kSource + " |\n";
  }
  text += "\n### f64\n\n| activation | value | slope | curvature | from |\n|---|---|---|---|---|\n";
  for (const PageRow& row : rows) {
    text += "| " + std::string(row.name) + " |";
    for (const Figure& figure : figures_of(row, DType::kF64)) text += " " + measured_and_bound(figure) + " |";
    text += std::string(" ") + kSource + " |\n";
  }
  text +=
      "\n### f16 and bf16\n\n"
      "| activation | f16 value | f16 slope | f16 curvature | bf16 value | bf16 slope | bf16 curvature | "
      "from |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const PageRow& row : rows) {
    text += "| " + std::string(row.name) + " |";
    for (DType dtype : {DType::kF16, DType::kBF16})
      for (const Figure& figure : figures_of(row, dtype)) text += " " + measured_and_bound(figure) + " |";
    text += std::string(" ") + kSource + " |\n";
  }
  return text;
}

std::string with_tables(const std::string& page, const std::string& tables) {
  const std::size_t begin = page.find(kBeginTables), end = page.find(kEndTables);
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  return page.substr(0, begin + kBeginTables.size()) + "\n" + tables + "\n" + page.substr(end);
}

}  // namespace actium::accuracy
