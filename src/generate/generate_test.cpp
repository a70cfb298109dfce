#include "generate/generate.h"

#include "core/error.h"
#include "core/threads.h"
#include "generate/fixture_test.h"
#include "generate/golden_test.h"

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;

const std::filesystem::path story_opt =
    std::filesystem::path(QUAVER_TEST_DATA) / "../../models/story-opt";

std::vector<Ids> new_ids(Decoder& decoder, const std::vector<Ids>& prompts,
                         const GenerateSettings& settings) {
  std::vector<Ids> ids;
  for (GenerateResult& r : generate({.decoder = decoder, .prompts = prompts, .settings = settings}))
    ids.push_back(std::move(r.ids));
  return ids;
}

class Generation : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, Generation, ::testing::ValuesIn(families));

// The goldens continue the first sequence by 16 tokens, without an end token.
TEST_P(Generation, equals_transformers) {
  const std::string& family = GetParam();
  const auto decoder = fixture_decoder(family);
  const Ids prompt = golden_prompts(family).front();
  for (const auto& [name, beams] : {std::pair{"greedy", 1}, {"beam4", 4}}) {
    const GenerateSettings settings{.max_new_tokens = 16, .num_beams = beams};
    Ids expected = golden_ids(golden(family, name), 0);
    expected.erase(expected.begin(), expected.begin() + static_cast<long>(prompt.size()));
    EXPECT_EQ(new_ids(*decoder, {prompt}, settings).front(), expected) << name;
  }
}

TEST_P(Generation, a_batch_gives_each_prompt_what_it_gives_alone) {
  const auto decoder = fixture_decoder(GetParam());
  std::vector<Ids> prompts = golden_prompts(GetParam());
  prompts.push_back({5, 6});
  for (const std::int64_t beams : {1, 3}) {
    GenerateSettings settings{.max_new_tokens = 12, .num_beams = beams};
    const std::vector<Ids> batch = new_ids(*decoder, prompts, settings);
    // An end token that comes early in one row: the others go on.
    settings.eos = {batch[0][3], batch[2][7]};
    const std::vector<Ids> ended = new_ids(*decoder, prompts, settings);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(new_ids(*decoder, {prompts[i]}, settings).front(), ended[i]) << beams << " " << i;
      settings.eos.clear();
      EXPECT_EQ(new_ids(*decoder, {prompts[i]}, settings).front(), batch[i]) << beams << " " << i;
      settings.eos = {batch[0][3], batch[2][7]};
    }
    if (beams == 1) {
      EXPECT_LE(ended[0].size(), 4u);
    }
  }
}

TEST(Generate, an_end_token_ends_and_is_kept) {
  const auto decoder = fixture_decoder("llama");
  const std::vector<Ids> prompts = {golden_prompts("llama").front()};
  GenerateSettings settings{.max_new_tokens = 16};
  const Ids whole = new_ids(*decoder, prompts, settings).front();
  ASSERT_EQ(whole.size(), 16u);
  settings.eos = {whole[5]};
  const auto end = static_cast<long>(std::ranges::find(whole, whole[5]) - whole.begin());
  EXPECT_EQ(new_ids(*decoder, prompts, settings).front(),
            Ids(whole.begin(), whole.begin() + end + 1));
}

TEST(Generate, sampling_repeats_by_seed_on_any_threads_and_in_any_batch) {
  const auto decoder = fixture_decoder("gptj");
  const std::vector<Ids> prompts(3, golden_prompts("gptj").front());
  GenerateSettings settings{.max_new_tokens = 16, .sample = true, .temperature = 3, .seed = 1};
  const std::vector<Ids> first = new_ids(*decoder, prompts, settings);
  EXPECT_NE(first[0], first[1]);  // a stream for each row
  const int threads = thread_count();
  set_thread_count(3);
  EXPECT_EQ(new_ids(*decoder, prompts, settings), first);
  set_thread_count(1);
  EXPECT_EQ(new_ids(*decoder, prompts, settings), first);
  set_thread_count(threads);
  EXPECT_EQ(new_ids(*decoder, {prompts[0]}, settings)[0], first[0]);
  settings.seed = 2;
  EXPECT_NE(new_ids(*decoder, prompts, settings), first);
}

TEST(Generate, an_empty_prompt_is_the_beginning_of_text) {
  const auto decoder = fixture_decoder("opt");
  GenerateSettings settings{.max_new_tokens = 4};
  EXPECT_THROW(new_ids(*decoder, {{}}, settings), Error);
  settings.bos = 1;
  EXPECT_EQ(new_ids(*decoder, {{}}, settings), new_ids(*decoder, {{1}}, settings));
}

TEST(Generate, refuses_what_cannot_be) {
  const auto decoder = fixture_decoder("opt");
  GenerateSettings settings{.max_new_tokens = 4};
  const auto message = [&](const std::vector<Ids>& prompts, auto sink) -> std::string {
    try {
      generate({.decoder = *decoder, .prompts = prompts, .settings = settings, .sink = sink});
      return {};
    } catch (const Error& e) {
      return e.what();
    }
  };
  const auto deaf = [](std::string_view) { return true; };
  EXPECT_EQ(message({}, nullptr), "[generate] no prompt");
  EXPECT_EQ(message({{1}, {2}}, deaf), "[generate] 2 prompts cannot be streamed: expected one");
  EXPECT_EQ(message({{1000}}, nullptr),
            "[ids] token 0 is 1000: this model's vocabulary has 160 tokens");
  settings.max_new_tokens = 127;
  EXPECT_EQ(message({{1, 2}}, nullptr),
            "[generate] 127 new tokens after a prompt of 2 exceed the model's 128 positions: at "
            "most 126 fit");
  settings.stop = {"x"};
  EXPECT_EQ(message({{1, 2}}, nullptr),
            "[generate] --stop needs a tokenizer, and this model has none");
}

// --- Text: a trained model with its tokenizer --------------------------------------------------

class StoryOpt : public ::testing::Test {
 protected:
  GenerateResult told(const GenerateSettings& settings, std::string* streamed = nullptr,
                      std::size_t stop_after = 1000) {
    std::size_t pieces = 0;
    const std::vector<Ids> prompts = {tokenizer_.encode("The old man looked at", true)};
    GenerateJob job{
        .decoder = *decoder_, .tokenizer = &tokenizer_, .prompts = prompts, .settings = settings};
    if (streamed)
      job.sink = [&, streamed](std::string_view piece) {
        *streamed += piece;
        return ++pieces < stop_after;
      };
    return generate(job).front();
  }

  std::unique_ptr<Decoder> decoder_ = load_decoder(open_model(story_opt));
  Tokenizer tokenizer_ = Tokenizer::find(story_opt).value();
};

TEST_F(StoryOpt, streamed_text_is_the_decoded_whole) {
  for (const std::int64_t beams : {1, 3}) {
    GenerateSettings settings{.max_new_tokens = 40, .num_beams = beams};
    std::string streamed;
    const GenerateResult r = told(settings, &streamed);
    EXPECT_EQ(r.text, tokenizer_.decode(r.ids, true));
    EXPECT_EQ(streamed, r.text);
    EXPECT_EQ(r.new_tokens, 40);
    EXPECT_GT(r.text->size(), 40u);
    EXPECT_GT(r.prompt_seconds, 0);
    EXPECT_GT(r.new_seconds, 0);
  }
}

TEST_F(StoryOpt, stop_strings_end_the_text_across_tokens) {
  GenerateSettings settings{.max_new_tokens = 40};
  const std::string whole = *told(settings).text;
  // A string that begins and ends within words, so that no token is it.
  const std::string stop = whole.substr(whole.size() / 2, 9);
  settings.stop = {"no such string", stop};
  for (const std::int64_t beams : {1, 2}) {
    settings.num_beams = beams;
    std::string streamed;
    const GenerateResult r = told(settings, &streamed);
    EXPECT_EQ(streamed, r.text);
    EXPECT_EQ(r.text->find(stop), std::string::npos);
    if (beams == 1) {
      EXPECT_EQ(r.text, whole.substr(0, whole.find(stop)));
      EXPECT_LT(r.new_tokens, 40);
    }
  }
}

TEST_F(StoryOpt, the_sink_can_stop) {
  const GenerateSettings settings{.max_new_tokens = 40};
  std::string streamed;
  const GenerateResult r = told(settings, &streamed, 3);
  EXPECT_LT(r.new_tokens, 20);
  EXPECT_EQ(r.text->substr(0, streamed.size()), streamed);
}

TEST_F(StoryOpt, repetition_penalty_and_n_grams_are_obeyed) {
  GenerateSettings settings{.max_new_tokens = 60, .no_repeat_ngram_size = 2};
  const Ids ids = told(settings).ids;
  for (std::size_t i = 0; i + 1 < ids.size(); ++i)
    for (std::size_t j = i + 1; j + 1 < ids.size(); ++j)
      EXPECT_FALSE(ids[i] == ids[j] && ids[i + 1] == ids[j + 1]) << i << " " << j;
}

}  // namespace
}  // namespace quaver
