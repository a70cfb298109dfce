#include "eval/perplexity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/threads.h"
#include "loading/model.h"

namespace quaver {
namespace {

// --- A model whose answers are known -----------------------------------------------------------

constexpr std::int64_t vocabulary = 5;

// The logit of token v at position `at`, after token `id`. `sharpness` makes different models.
float logit(std::int32_t id, std::int32_t at, std::int64_t v, float sharpness) {
  return sharpness * static_cast<float>((id * 7 + at * 3 + v * v * 5) % 11);
}

std::vector<std::int32_t> fed;  // every id that any known model saw

// Hidden states are (token, position); there are no blocks.
class KnownEnds final : public Ends {
 public:
  explicit KnownEnds(float sharpness) : sharpness_(sharpness) {}
  void visit(Visitor&) override {}
  Tensor embed(const Tensor& ids, Step& step) override {
    Tensor x({ids.dim(0), 2});
    for (std::size_t r = 0; r < static_cast<std::size_t>(ids.dim(0)); ++r) {
      x.data<float>()[2 * r] = static_cast<float>(ids.data<std::int32_t>()[r]);
      fed.push_back(ids.data<std::int32_t>()[r]);
      x.data<float>()[2 * r + 1] =
          static_cast<float>(std::as_const(step.positions).data<std::int32_t>()[r]);
    }
    return x;
  }
  Tensor norm(const Tensor& x) override { return x; }
  Tensor logits(const Tensor& normed, Step&) override {
    Tensor y({normed.dim(0), vocabulary});
    const auto x = normed.data<float>();
    for (std::size_t r = 0; r < static_cast<std::size_t>(normed.dim(0)); ++r)
      for (std::int64_t v = 0; v < vocabulary; ++v)
        y.data<float>()[r * vocabulary + static_cast<std::size_t>(v)] =
            logit(static_cast<std::int32_t>(x[2 * r]), static_cast<std::int32_t>(x[2 * r + 1]), v,
                  sharpness_);
    return y;
  }

 private:
  float sharpness_;
};

constinit const Arch known_arch = {.name = "Known",
                                   .model_type = "known",
                                   .blocks = "blocks",
                                   .config = nullptr,
                                   .block = nullptr,
                                   .ends = [](const Config& c) -> std::unique_ptr<Ends> {
                                     return std::make_unique<KnownEnds>(c.norm_eps);
                                   }};

Decoder known_decoder(float sharpness, std::int64_t vocab = vocabulary) {
  return Decoder(known_arch, {.hidden = 2, .vocab = vocab, .norm_eps = sharpness});
}

double log_probability(std::int32_t id, std::int32_t at, std::int32_t next, float sharpness) {
  double sum = 0;
  for (std::int64_t v = 0; v < vocabulary; ++v)
    sum += std::exp(double{logit(id, at, v, sharpness)});
  return double{logit(id, at, next, sharpness)} - std::log(sum);
}

// "abcd" are tokens 1 to 4; <s>, token 0, is what the tokenizer puts before a text.
Tokenizer letters() {
  return Tokenizer::parse_json(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
                      "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": null, "decoder": null,
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
      "vocab": {"<s>": 0, "a": 1, "b": 2, "c": 3, "d": 4}, "merges": []}})",
                               "letters");
}

class Perplexity : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("quaver_eval_" + std::to_string(getpid()));
    std::string text;
    for (int i = 0; i < 43; ++i) {
      ids_.push_back(1 + i * i % 7 % 4);
      text += static_cast<char>('a' + ids_.back() - 1);
    }
    std::ofstream(path_) << text;
    options_.text = path_.string();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  EvaluateResult evaluated(float sharpness = 0.5f, Decoder* reference = nullptr) {
    Decoder model = known_decoder(sharpness);
    return evaluate({.model = model,
                     .tokenizer = tokenizer_,
                     .options = options_,
                     .reference = reference,
                     .progress = progress_});
  }
  std::string refusal(Decoder* reference = nullptr) {
    try {
      evaluated(0.5f, reference);
      return {};
    } catch (const Error& e) {
      return e.what();
    }
  }

  std::filesystem::path path_;
  std::vector<std::int32_t> ids_;
  Tokenizer tokenizer_ = letters();
  EvaluateOptions options_;
  std::function<void(const EvaluateProgress&)> progress_;
};

// Mean and standard error of -log p(token t | its window) over scored tokens.
struct Expected {
  std::vector<double> nll;
  double mean() const {
    double sum = 0;
    for (const double x : nll) sum += x;
    return sum / static_cast<double>(nll.size());
  }
  double standard_error() const {
    double sum = 0;
    for (const double x : nll) sum += (x - mean()) * (x - mean());
    const auto n = static_cast<double>(nll.size());
    return std::sqrt(sum / n / (n - 1));
  }
};

void expect_equal(const EvaluateResult& r, const Expected& e) {
  EXPECT_EQ(r.tokens, static_cast<std::int64_t>(e.nll.size()));
  EXPECT_NEAR(r.nll, e.mean(), 1e-6);
  EXPECT_NEAR(r.perplexity, std::exp(e.mean()), 1e-5);
  EXPECT_NEAR(r.perplexity_stderr, std::exp(e.mean()) * e.standard_error(), 1e-5);
  EXPECT_FALSE(r.kl || r.kl_stderr || r.top1);
}

TEST_F(Perplexity, by_gptq) {
  options_.context = 8;
  Expected e;
  for (int w = 0; w < 5; ++w)
    for (int i = 1; i < 8; ++i)
      e.nll.push_back(-log_probability(ids_[static_cast<std::size_t>(w * 8 + i - 1)], i - 1,
                                       ids_[static_cast<std::size_t>(w * 8 + i)], 0.5f));
  const EvaluateResult r = evaluated();
  expect_equal(r, e);
  EXPECT_EQ(r.windows, 5);
  EXPECT_EQ(r.context, 8);
  EXPECT_EQ(r.protocol, "gptq");
}

TEST_F(Perplexity, by_llamacpp) {
  options_.context = 4;
  options_.protocol = "llamacpp";
  Expected e;
  for (std::size_t w = 0; w < 10; ++w)  // position 2 predicts position 3
    e.nll.push_back(-log_probability(ids_[w * 4 + 2], 2, ids_[w * 4 + 3], 0.5f));
  expect_equal(evaluated(), e);
}

// A window's first token is <s> by llamacpp, the text's own otherwise.
TEST_F(Perplexity, only_llamacpp_begins_windows_anew) {
  options_.context = 8;
  for (const char* protocol : {"gptq", "llamacpp"}) {
    options_.protocol = protocol;
    fed.clear();
    evaluated();
    ASSERT_EQ(fed.size(), 40u);
    for (std::size_t i = 0; i < fed.size(); ++i)
      EXPECT_EQ(fed[i], i % 8 == 0 && options_.protocol == "llamacpp" ? 0 : ids_[i]) << i;
  }
}

TEST_F(Perplexity, strided) {
  options_.context = 8;
  options_.stride = 3;
  options_.protocol = "strided";
  Expected e;
  for (std::size_t t = 1; t < ids_.size(); ++t) {
    // The first window that holds t begins at the least multiple of 3 with t < begin + 8.
    const std::size_t begin = t < 8 ? 0 : (t - 8) / 3 * 3 + 3;
    e.nll.push_back(
        -log_probability(ids_[t - 1], static_cast<std::int32_t>(t - 1 - begin), ids_[t], 0.5f));
  }
  expect_equal(evaluated(), e);
}

TEST_F(Perplexity, of_the_first_windows) {
  options_.context = 8;
  options_.max_windows = 2;
  std::vector<EvaluateProgress> seen;
  progress_ = [&](const EvaluateProgress& p) { seen.push_back(p); };
  const EvaluateResult r = evaluated();
  EXPECT_EQ(r.windows, 2);
  EXPECT_EQ(r.tokens, 14);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().done, 2);
  EXPECT_EQ(seen.back().total, 2);
  EXPECT_DOUBLE_EQ(seen.back().perplexity, r.perplexity);
  options_.max_windows = 100;
  EXPECT_EQ(evaluated().windows, 5);
}

TEST_F(Perplexity, divergence_from_itself_is_nothing) {
  options_.context = 8;
  Decoder same = known_decoder(0.5f);
  const EvaluateResult r = evaluated(0.5f, &same);
  EXPECT_EQ(r.kl, 0);
  EXPECT_EQ(r.kl_stderr, 0);
  EXPECT_EQ(r.top1, 1);
}

TEST_F(Perplexity, divergence_is_of_the_model_from_the_reference) {
  options_.context = 8;
  Decoder reference = known_decoder(-0.25f);
  Expected kl;
  int same = 0;
  for (int w = 0; w < 5; ++w)
    for (int i = 0; i < 7; ++i) {
      const std::int32_t id = ids_[static_cast<std::size_t>(w * 8 + i)];
      double sum = 0;
      int top_p = 0, top_q = 0;
      for (int v = 0; v < vocabulary; ++v) {
        const double p = log_probability(id, i, v, -0.25f), q = log_probability(id, i, v, 0.5f);
        sum += std::exp(p) * (p - q);
        if (p > log_probability(id, i, top_p, -0.25f)) top_p = v;
        if (q > log_probability(id, i, top_q, 0.5f)) top_q = v;
      }
      kl.nll.push_back(sum);
      same += top_p == top_q;
    }
  const EvaluateResult r = evaluated(0.5f, &reference);
  EXPECT_NEAR(r.kl.value(), kl.mean(), 1e-6);
  EXPECT_NEAR(r.kl_stderr.value(), kl.standard_error(), 1e-6);
  EXPECT_DOUBLE_EQ(r.top1.value(), same / 35.0);
}

TEST_F(Perplexity, refuses_what_cannot_be) {
  options_.context = 8;
  options_.stride = 4;
  EXPECT_EQ(refusal(), "[eval] --stride is not used by protocol gptq");
  options_.stride.reset();
  options_.max_windows = 0;
  EXPECT_EQ(refusal(), "[eval] --max-windows 0: expected at least 1");
  options_.max_windows.reset();
  options_.protocol = "wiki";
  EXPECT_EQ(refusal(), "[eval] unknown protocol 'wiki'; known: gptq, llamacpp, strided");
  options_.protocol = "gptq";
  options_.context.reset();
  EXPECT_EQ(refusal(), "[eval] the text has 43 tokens; windows of 2048 need at least 2048");
  options_.context = 8;
  Decoder other = known_decoder(0.5f, 6);
  EXPECT_EQ(refusal(&other), "[eval] the reference's vocabulary has 6 tokens, the model's 5");
  options_.text = "/no/such/file.txt";
  EXPECT_NE(refusal().find("/no/such/file.txt"), std::string::npos);
}

TEST_F(Perplexity, refuses_logits_that_are_not_finite) {
  options_.context = 8;
  Decoder broken = known_decoder(std::nanf(""));
  try {
    evaluate({.model = broken, .tokenizer = tokenizer_, .options = options_});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault, Fault::numerical);
  }
}

// --- A trained model ---------------------------------------------------------------------------

class StoryOptScores : public ::testing::Test {
 protected:
  EvaluateResult evaluated(const EvaluateOptions& options) {
    return evaluate({.model = *decoder_, .tokenizer = tokenizer_, .options = options});
  }
  const std::filesystem::path directory_ =
      std::filesystem::path(QUAVER_TEST_DATA) / "../../models/story-opt";
  std::unique_ptr<Decoder> decoder_ = load_decoder(open_model(directory_));
  Tokenizer tokenizer_ = Tokenizer::find(directory_).value();
};

// Numbers of tests/golden/make_perplexity.py, on the built-in text.
TEST_F(StoryOptScores, perplexity_is_that_of_transformers) {
  struct Case {
    EvaluateOptions options;
    std::int64_t tokens;
    double perplexity, standard_error;
  };
  const std::vector<Case> cases = {
      {{.protocol = "gptq", .context = 512, .max_windows = 4}, 2044, 31.169873, 1.745078},
      {{.protocol = "llamacpp", .context = 256, .max_windows = 4}, 508, 36.227453, 3.998562},
      {{.protocol = "strided", .context = 256, .stride = 96, .max_windows = 5},
       639,
       41.517422,
       4.240806}};
  for (const Case& c : cases) {
    const EvaluateResult r = evaluated(c.options);
    EXPECT_EQ(r.tokens, c.tokens) << c.options.protocol;
    EXPECT_NEAR(r.perplexity, c.perplexity, 1e-3 * c.perplexity) << c.options.protocol;
    EXPECT_NEAR(r.perplexity_stderr, c.standard_error, 1e-3 * c.standard_error);
  }
}

TEST_F(StoryOptScores, the_result_has_the_same_bits_for_any_number_of_threads) {
  const int threads = thread_count();
  const EvaluateOptions options = {.context = 128, .max_windows = 3};
  set_thread_count(1);
  const EvaluateResult one = evaluated(options);
  for (const int n : {2, 3, 8}) {
    set_thread_count(n);
    const EvaluateResult more = evaluated(options);
    EXPECT_EQ(more.nll, one.nll) << n;
    EXPECT_EQ(more.perplexity_stderr, one.perplexity_stderr) << n;
  }
  set_thread_count(threads);
}

TEST_F(StoryOptScores, a_context_beyond_the_positions_is_refused) {
  try {
    evaluated({.context = 513});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "[eval] --context 513: the model has 512 positions");
  }
  EXPECT_EQ(evaluated({.max_windows = 1}).context, 512);
}

}  // namespace
}  // namespace quaver
