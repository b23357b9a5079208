#pragma once
/// Eigenvalues of a small symmetric matrix.
#include <cstddef>
#include <vector>

namespace actium::cli::notebook {

/// In increasing order, by cyclic Jacobi rotations (Golub and Van Loan, section 8.5): exact to rounding, and
/// meant for a few rows. `a` is n x n, row-major; NaN in gives NaN out.
std::vector<double> symmetric_eigenvalues(std::vector<double> a, std::size_t n);

}  // namespace actium::cli::notebook
