#include "symmetric_eigenvalues.hpp"

#include <algorithm>
#include <cmath>

namespace actium::cli::notebook {
namespace {

constexpr int kSweeps = 30;  // convergence is quadratic: a small matrix needs about five

/// a <- R^T a R with the rotation R of rows and columns p and q that makes a(p, q) zero.
void rotate(std::vector<double>& a, std::size_t n, std::size_t p, std::size_t q) {
  if (a[p * n + q] == 0) return;
  const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
  const double tangent = std::copysign(1 / (std::abs(theta) + std::hypot(theta, 1)), theta);
  const double cosine = 1 / std::hypot(tangent, 1), sine = tangent * cosine;
  for (std::size_t i = 0; i < n; ++i) {
    const double ip = a[i * n + p], iq = a[i * n + q];
    a[i * n + p] = cosine * ip - sine * iq;
    a[i * n + q] = sine * ip + cosine * iq;
  }
  for (std::size_t i = 0; i < n; ++i) {
    const double pi = a[p * n + i], qi = a[q * n + i];
    a[p * n + i] = cosine * pi - sine * qi;
    a[q * n + i] = sine * pi + cosine * qi;
  }
}

}  // namespace

std::vector<double> symmetric_eigenvalues(std::vector<double> a, std::size_t n) {
  for (int sweep = 0; sweep < kSweeps; ++sweep)
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) rotate(a, n, p, q);
  std::vector<double> eigenvalues;
  for (std::size_t i = 0; i < n; ++i) eigenvalues.push_back(a[i * n + i]);
  std::ranges::sort(eigenvalues);
  return eigenvalues;
}

}  // namespace actium::cli::notebook
