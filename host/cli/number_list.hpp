#pragma once
/// Numbers as the command line spells them.
#include <actium/dtype.hpp>
#include <string>
#include <vector>

namespace actium::cli {

/// One number: 2, -0.5, 1e-3, 0x1p-3, nan, inf, -inf. Throws Error, naming `option`, for anything else and
/// for a number beyond the largest double.
double parse_number(const std::string& option, const std::string& text);

/// Numbers separated by commas, spaces allowed round each: "-3, -1,0.5". "@FILE" takes them from a file and
/// "@-" from stdin, for lists longer than a command line may be. Throws Error that names `option`, the item
/// and its position; an empty list is an error.
std::vector<double> parse_number_list(const std::string& option, const std::string& text);

/// The same for numbers that will be rounded to `dtype`: one that would become infinite there is an error, as
/// is one beyond the largest double.
std::vector<double> parse_number_list(const std::string& option, const std::string& text, DType dtype);

/// A file ("-": stdin) of such lists, one a line; empty lines are passed over. The Errors name the line.
std::vector<std::vector<double>> parse_number_rows(const std::string& option, const std::string& path,
                                                   DType dtype);

/// A whole number in decimal digits, from `first` to `last`. Throws Error "OPTION: want WANT, got ..." for
/// anything else.
int parse_integer(const std::string& option, const std::string& text, int first, int last,
                  const std::string& want);

/// The same for numbers separated by commas; the Error names the item where there are several.
std::vector<int> parse_integer_list(const std::string& option, const std::string& text, int first, int last,
                                    const std::string& want);

}  // namespace actium::cli
