#pragma once
// For the tests of this folder: a directory that is removed at the end, and the text of errors.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/error.h"

namespace quaver {

class TemporaryDirectory : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "quaver-io-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  std::filesystem::path directory;
};

// The error that `action` throws; Fault::internal if it throws none.
template <class Action>
Error error_of(Action&& action) {
  try {
    action();
  } catch (const Error& e) {
    return e;
  }
  return {Fault::internal, "no error was thrown"};
}

template <class Action>
void expect_error(Fault fault, const std::string& part, Action&& action) {
  const Error e = error_of(action);
  EXPECT_EQ(e.fault, fault) << e.what();
  EXPECT_NE(std::string(e.what()).find(part), std::string::npos)
      << "expected: " << part << "\nfound:    " << e.what();
}

}  // namespace quaver
