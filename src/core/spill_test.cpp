#include "core/spill.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/error.h"
#include "core/tensor.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

class SpillTest : public ::testing::Test {
 protected:
  SpillTest() : folder_(fs::path(::testing::TempDir()) / "quaver_spill") {
    fs::create_directories(folder_);
  }
  ~SpillTest() override { fs::remove_all(folder_); }

  // A tensor of `floats` that belongs to `set` and counts from `first`.
  static Tensor counting(const std::shared_ptr<SpillSet>& set, std::int64_t floats, float first) {
    const SpillSet::Scope scope(set);
    Tensor t = Tensor::raw({floats});
    for (float& f : t.data<float>()) f = first++;
    return t;
  }
  static bool counts(const Tensor& t, float first) {
    for (const float f : t.data<float>())
      if (f != first++) return false;
    return true;
  }

  const fs::path folder_;
};

constexpr std::int64_t floats = 1 << 18;  // a paged buffer

TEST_F(SpillTest, BringsBytesBackWhereThereIsNoRoom) {
  SpillPool pool(folder_, 0);
  const auto set = pool.make();
  const Tensor a = counting(set, floats, 0), b = counting(set, floats, 7);
  EXPECT_EQ(set->bytes(), 2u * floats * sizeof(float));
  set->leave();
  EXPECT_EQ(pool.spilled_bytes(), 2u * floats * sizeof(float));
  // Out of memory means that the pages are gone: they read as zeros.
  EXPECT_EQ(a.data<float>()[5], 0);
  EXPECT_EQ(b.data<float>()[5], 0);
  set->enter();
  EXPECT_TRUE(counts(a, 0));
  EXPECT_TRUE(counts(b, 7));
  EXPECT_TRUE(fs::is_empty(folder_)) << "its file has a name";
}

TEST_F(SpillTest, KeepsInMemoryWhatFits) {
  SpillPool pool(folder_, 3 * floats * sizeof(float));
  const auto first = pool.make(), second = pool.make();
  const Tensor a = counting(first, 2 * floats, 0), b = counting(second, 2 * floats, 1);
  first->leave();
  second->leave();
  EXPECT_TRUE(counts(a, 0));         // fits
  EXPECT_EQ(b.data<float>()[5], 0);  // does not fit beside it
  first->enter();
  second->enter();
  EXPECT_TRUE(counts(b, 1));
  second->leave();  // now the first one is not settled
  EXPECT_TRUE(counts(b, 1));
}

TEST_F(SpillTest, ForgetsWhatIsFreedMeanwhile) {
  SpillPool pool(folder_, 0);
  const auto set = pool.make();
  const Tensor kept = counting(set, floats, 3);
  Tensor gone = counting(set, floats, 0);
  set->leave();
  gone = {};
  // Another's buffer of the same size, and most likely at the same place.
  const Tensor other = counting(nullptr, floats, 11);
  set->enter();
  EXPECT_TRUE(counts(other, 11));
  EXPECT_TRUE(counts(kept, 3));
  EXPECT_EQ(set->bytes(), floats * sizeof(float));
}

TEST_F(SpillTest, LeavesOthersAlone) {
  SpillPool pool(folder_, 0);
  const auto set = pool.make();
  const Tensor mine = counting(set, floats, 0), other = counting(nullptr, floats, 1),
               small = counting(set, 100, 2);
  set->leave();
  EXPECT_TRUE(counts(other, 1));
  EXPECT_TRUE(counts(small, 2));
}

TEST_F(SpillTest, FailsBeforeAnythingIsDropped) {
  SpillPool pool(folder_ / "absent", 0);
  const auto set = pool.make();
  const Tensor a = counting(set, floats, 0);
  EXPECT_THROW(set->leave(), Error);
  EXPECT_TRUE(counts(a, 0));
}

}  // namespace
}  // namespace quaver
