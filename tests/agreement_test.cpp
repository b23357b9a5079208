// How far apart are the emulated kernels and those on a GPU? The emulated run leaves its results in a file
// (ACTIUM_AGREEMENT_FILE); the run on a GPU reads it and prints the largest difference of each operation in
// ULP. Different they may be: nvcc contracts, and log, sqrt and sincospi are the device's own.
#include <cstdio>
#include <cstring>
#include <fstream>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/every_operation.hpp"
#include "support/samples.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;

std::string file_name() {
  const char* name = std::getenv("ACTIUM_AGREEMENT_FILE");
  return name != nullptr ? name : "";
}

class Agreement : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(Agreement);

/// The numbers that an operation wrote.
std::vector<double> numbers(const Operation& operation, const std::vector<std::byte>& bytes) {
  const auto read = [&]<class T>(std::type_identity<T>) {
    std::vector<double> values;
    for (std::size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
      T value;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      values.push_back(static_cast<double>(value));
    }
    return values;
  };
  return visit_dtype(operation.dtype, read);
}

void leave_results(const Context& ctx) {
  std::ofstream file(file_name(), std::ios::binary);
  for (const Operation& operation : every_operation(ctx, kSeed)) {
    operation.run(ctx);
    const std::vector<std::byte> bytes = operation.read(ctx);
    file << operation.name << '\n' << bytes.size() << '\n';
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  EXPECT_TRUE(file.flush()) << file_name();
}

void compare_results(const Context& ctx) {
  std::ifstream file(file_name(), std::ios::binary);
  ASSERT_TRUE(file) << file_name() << ": run the emulated tests first (agreement.emulated)";
  std::printf("%-44s %12s\n", "operation", "ULP");
  for (const Operation& operation : every_operation(ctx, kSeed)) {
    std::string name, size;
    ASSERT_TRUE(std::getline(file, name) && std::getline(file, size)) << operation.name;
    ASSERT_EQ(name, operation.name);
    std::vector<std::byte> bytes(std::stoull(size));
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    operation.run(ctx);
    const std::vector<double> got = numbers(operation, operation.read(ctx)), want = numbers(operation, bytes);
    ASSERT_EQ(got.size(), want.size()) << name;
    double worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      worst =
          std::max(worst, ulp_error(got[i], static_cast<long double>(want[i]), format_of(operation.dtype)));
    std::printf("%-44s %12.3g\n", name.c_str(), worst);
    // A record more than a test: where a result is near 0 one rounding is many ULP. A wrong kernel is
    // millions off.
    EXPECT_LE(worst, size_of(operation.dtype) >= 4 ? 1e6 : 64) << name;
  }
}

TEST_P(Agreement, OfEveryOperation) {
  if (!on_cuda()) GTEST_SKIP() << "the CPU path has bounds of its own";
  if (file_name().empty()) GTEST_SKIP() << "no ACTIUM_AGREEMENT_FILE";
  if (emulated())
    leave_results(context());
  else
    compare_results(context());
}

}  // namespace
