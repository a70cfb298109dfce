#include "generate/forward.h"

#include "core/error.h"
#include "generate/fixture_test.h"

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;

// The unmasked rows of [batch, tokens, columns].
std::vector<float> visible_rows(const Tensor& t, const Tensor& mask) {
  std::vector<float> out;
  const auto columns = static_cast<std::size_t>(t.dim(2));
  const auto values = t.data<float>();
  for (std::size_t r = 0; r < static_cast<std::size_t>(mask.size()); ++r)
    if (mask.data<std::int64_t>()[r])
      out.insert(out.end(), values.begin() + static_cast<long>(r * columns),
                 values.begin() + static_cast<long>((r + 1) * columns));
  return out;
}

class Forward : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, Forward, ::testing::ValuesIn(families));

TEST_P(Forward, equals_transformers) {
  const std::string& family = GetParam();
  const auto decoder = fixture_decoder(family);
  const Tensor ids = golden(family, "input_ids"), mask = golden(family, "attention_mask");
  ForwardInput in;
  for (std::int64_t row = 0; row < ids.dim(0); ++row) {
    in.ids.push_back(golden_ids(ids, row));
    const Ids visible = golden_ids(mask, row);
    in.masks.emplace_back(visible.begin(), visible.end());
  }
  const ForwardResult out = forward_logits(*decoder, in, true);
  EXPECT_EQ(out.logits.shape(), golden(family, "logits").shape());
  EXPECT_LT(relative_difference(visible_rows(out.logits, mask),
                                visible_rows(golden(family, "logits"), mask)),
            1e-4);
  ASSERT_EQ(static_cast<int>(out.hidden.size()), decoder->layers() + 1);
  for (std::size_t i = 0; i < out.hidden.size(); ++i)
    EXPECT_LT(relative_difference(visible_rows(out.hidden[i], mask),
                                  visible_rows(golden(family, text("hidden.", i)), mask)),
              1e-4)
        << i;
}

// Lists of unequal length are what the golden batch is: padded on the left, with a mask.
TEST_P(Forward, pads_unequal_lists_on_the_left) {
  const std::string& family = GetParam();
  const auto decoder = fixture_decoder(family);
  const ForwardResult out = forward_logits(*decoder, {.ids = golden_prompts(family)});
  const Tensor mask = golden(family, "attention_mask");
  for (std::int64_t row = 0; row < mask.dim(0); ++row) {
    const Ids visible = golden_ids(mask, row);
    EXPECT_TRUE(std::ranges::equal(out.masks.at(static_cast<std::size_t>(row)), visible));
  }
  EXPECT_TRUE(out.hidden.empty());
  EXPECT_LT(relative_difference(visible_rows(out.logits, mask),
                                visible_rows(golden(family, "logits"), mask)),
            1e-4);
}

TEST_P(Forward, a_padded_row_equals_itself_alone) {
  const std::string& family = GetParam();
  const auto decoder = fixture_decoder(family);
  if (counts_padding(*decoder)) GTEST_SKIP();
  const auto prompts = golden_prompts(family);
  ASSERT_LT(prompts[1].size(), prompts[0].size());
  const ForwardResult batch = forward_logits(*decoder, {.ids = prompts});
  const ForwardResult alone = forward_logits(*decoder, {.ids = {prompts[1]}});
  const Tensor flat = batch.logits.reshaped({2 * batch.logits.dim(1), batch.logits.dim(2)});
  const Tensor tail =
      flat.rows(flat.dim(0) - static_cast<std::int64_t>(prompts[1].size()), flat.dim(0));
  EXPECT_LT(relative_difference(tail.data<float>(), std::as_const(alone.logits).data<float>()),
            1e-5);
}

TEST(Forward, refuses_what_does_not_fit) {
  const auto decoder = fixture_decoder("llama");
  const auto message = [&](const ForwardInput& in) -> std::string {
    try {
      forward_logits(*decoder, in);
      return {};
    } catch (const Error& e) {
      return e.what();
    }
  };
  EXPECT_EQ(message({}), "[forward] no sequence of ids");
  EXPECT_EQ(message({.ids = {{1}, {}}}), "[forward] sequence 1 has no ids");
  EXPECT_EQ(message({.ids = {{1}}, .masks = {{1}, {1}}}), "[forward] 2 masks for 1 sequences");
  EXPECT_EQ(message({.ids = {{1, 2}}, .masks = {{1}}}),
            "[forward] sequence 0 has 2 ids, its mask 1");
  EXPECT_EQ(message({.ids = {{1}, {1, 2}}, .masks = {{1}, {1, 1}}}),
            "[forward] ids of unequal length beside masks");
  EXPECT_EQ(message({.ids = {{1, 999}}}),
            "[ids] token 1 is 999: this model's vocabulary has 160 tokens");
}

}  // namespace
}  // namespace quaver
