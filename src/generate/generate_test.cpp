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

TEST_P(Generation, prompt_lookup_gives_what_greedy_gives) {
  const auto decoder = fixture_decoder(GetParam());
  std::vector<Ids> prompts = golden_prompts(GetParam());
  prompts.push_back({5, 6, 7, 5, 6, 7, 5, 6});
  GenerateSettings settings{.max_new_tokens = 24};
  const std::vector<Ids> greedy = new_ids(*decoder, prompts, settings);
  for (const std::int64_t count : {1, 3, 10}) {
    settings.prompt_lookup_num_tokens = count;
    const auto results = generate({.decoder = *decoder, .prompts = prompts, .settings = settings});
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(results[i].ids, greedy[i]) << count << " " << i;
      EXPECT_LE(results[i].accepted_tokens, results[i].drafted_tokens);
      EXPECT_LT(results[i].accepted_tokens, 24);
    }
  }
}

// Each token is drawn from the model's own logits by the same stream, guessed or not.
TEST(Generate, prompt_lookup_changes_no_sample) {
  const auto decoder = fixture_decoder("gptj");
  const std::vector<Ids> prompts = {{5, 6, 7, 5, 6, 7, 5, 6}, golden_prompts("gptj").front()};
  GenerateSettings settings{.max_new_tokens = 40, .sample = true, .top_k = 3, .seed = 4};
  const std::vector<Ids> plain = new_ids(*decoder, prompts, settings);
  settings.prompt_lookup_num_tokens = 4;
  EXPECT_EQ(new_ids(*decoder, prompts, settings), plain);
  settings.repetition_penalty = 1.3;  // sees each accepted guess
  const std::vector<Ids> penalized = new_ids(*decoder, prompts, settings);
  settings.prompt_lookup_num_tokens = 0;
  EXPECT_EQ(new_ids(*decoder, prompts, settings), penalized);
}

TEST_P(Generation, a_session_is_reused_as_far_as_the_prompt_agrees) {
  const auto decoder = fixture_decoder(GetParam());
  const Ids prompt = golden_prompts(GetParam()).front();
  const GenerateSettings settings{.max_new_tokens = 6};
  Session session(*decoder);
  const auto told = [&](const Ids& ids) {
    const std::vector<Ids> prompts = {ids};
    return generate(
               {.decoder = *decoder, .prompts = prompts, .settings = settings, .session = &session})
        .front();
  };
  // Keys that were rotated for a text of another length are of no use.
  const bool reuses = !decoder->arch().rotates_by_length(decoder->config().json);
  const GenerateResult first = told(prompt);
  EXPECT_EQ(first.ids, new_ids(*decoder, {prompt}, settings).front());
  EXPECT_EQ(first.reused_tokens, 0);
  Ids longer = prompt;  // the answer becomes part of the next prompt, as in a chat
  longer.insert(longer.end(), first.ids.begin(), first.ids.end());
  EXPECT_EQ(session.ids(), Ids(longer.begin(), longer.end() - 1));
  longer.insert(longer.end(), {9, 8, 7});
  const GenerateResult second = told(longer);
  EXPECT_EQ(second.ids, new_ids(*decoder, {longer}, settings).front());
  EXPECT_EQ(second.reused_tokens,
            reuses ? static_cast<std::int64_t>(prompt.size() + first.ids.size()) - 1 : 0);
  Ids other = prompt;  // differs from its sixth token on
  other[5] = other[5] == 9 ? 8 : 9;
  EXPECT_EQ(told(other).ids, new_ids(*decoder, {other}, settings).front());
  EXPECT_EQ(told(other).reused_tokens, reuses ? static_cast<std::int64_t>(other.size()) - 1 : 0);
}

TEST(Generate, several_answers_a_prompt) {
  const auto decoder = fixture_decoder("llama");
  const std::vector<Ids> prompts = {golden_prompts("llama").front(), {5, 6}};
  GenerateSettings settings{.max_new_tokens = 8, .num_beams = 3};
  const std::vector<Ids> best = new_ids(*decoder, prompts, settings);
  settings.num_return_sequences = 3;
  const std::vector<Ids> beams = new_ids(*decoder, prompts, settings);
  ASSERT_EQ(beams.size(), 6u);
  EXPECT_EQ(beams[0], best[0]);
  EXPECT_EQ(beams[3], best[1]);
  EXPECT_NE(beams[0], beams[1]);
  settings.num_beams = 1;
  settings.sample = true;
  settings.temperature = 3;
  const std::vector<Ids> samples = new_ids(*decoder, prompts, settings);
  ASSERT_EQ(samples.size(), 6u);
  EXPECT_NE(samples[0], samples[1]);
  // The first answer draws from the stream that it has alone; the prompt was fed but once.
  settings.num_return_sequences = 1;
  EXPECT_EQ(new_ids(*decoder, {prompts[0]}, settings).front(), samples[0]);
}

TEST(Generate, each_prompt_has_a_length_of_its_own) {
  const auto decoder = fixture_decoder("opt");
  GenerateSettings settings{.max_length = 30};
  const std::vector<Ids> prompts = {Ids(25, 7), {5, 6}};
  const std::vector<Ids> ids = new_ids(*decoder, prompts, settings);
  EXPECT_EQ(ids[0].size(), 5u);
  EXPECT_EQ(ids[1].size(), 28u);
  settings.forced_eos = {3};
  settings.num_beams = 2;
  for (const Ids& ended : new_ids(*decoder, prompts, settings)) EXPECT_EQ(ended.back(), 3);
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
  EXPECT_EQ(message({{1}, {2}}, deaf), "[generate] 2 answers cannot be streamed: expected one");
  EXPECT_EQ(message({{1000}}, nullptr),
            "[ids] token 0 is 1000: this model's vocabulary has 160 tokens");
  settings.sequence_bias = {{.ids = {160}, .bias = 1}};
  EXPECT_EQ(message({{1}}, nullptr),
            "[generate] a logit bias names token 160: this model's vocabulary has 160 tokens");
  settings.sequence_bias.clear();
  settings.forced_eos = {200};
  EXPECT_EQ(message({{1}}, nullptr),
            "[generate] forced_eos_token_id names token 200: this model's vocabulary has 160 "
            "tokens");
  settings.forced_eos.clear();
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
