#include "api/machine.h"

#include <gtest/gtest.h>

namespace quaver {
namespace {

TEST(Machine, CountsCores) {
  const int cores = physical_cores();
  EXPECT_GE(cores, 1);
  const Json report = examine_machine(false);
  EXPECT_LE(cores, report.at("cores").at("allowed").get<int>());
  EXPECT_LE(report.at("cores").at("allowed").get<int>(),
            report.at("cores").at("online").get<int>());
}

TEST(Machine, ReportHasItsKeys) {
  const Json report = examine_machine(false);
  EXPECT_FALSE(report.at("cpu").at("model").get<std::string>().empty());
  EXPECT_FALSE(report.at("cpu").at("isa_available").empty());
  EXPECT_GT(report.at("memory").at("total").get<std::int64_t>(),
            report.at("memory").at("available").get<std::int64_t>());
  EXPECT_TRUE(report.at("measured").is_null());
  EXPECT_TRUE(report.at("gpus").is_array());
  EXPECT_TRUE(report.at("compiler").is_string());
}

TEST(Machine, MeasuresRatesAboveZero) {
  const Json measured = examine_machine(true).at("measured");
  EXPECT_GT(measured.at("fma_gflops").get<double>(), 0.1);
  EXPECT_GT(measured.at("read_gbytes").get<double>(), 0.1);
}

}  // namespace
}  // namespace quaver
