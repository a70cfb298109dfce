// Every family against golden outputs of transformers (of tests/interop/reference_models.py where
// transformers lacks the family), on the CPU and on a device
// whose memory the host cannot touch.
#include "loading/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "guarded_backend.h"
#include "io/checkpoint.h"
#include "loading/unprefixed_test.h"

namespace quaver {
namespace {

const std::filesystem::path data = QUAVER_TEST_DATA;
const std::filesystem::path story_opt = data / "../../models/story-opt";

struct Case {
  std::string family;
  bool guarded;
};

Step step_for(const Decoder& decoder, const Tensor& mask, Device device) {
  Step step{.device = device};
  const std::int64_t batch = mask.dim(0), tokens = mask.dim(1);
  step.positions = Tensor({batch * tokens}, DType::i32);
  for (std::int64_t b = 0; b < batch; ++b) {
    Tensor visible({tokens}, DType::u8);
    std::int32_t seen = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const bool on = mask.data<std::int64_t>()[b * tokens + t] != 0;
      seen += on;
      visible.data<std::uint8_t>()[t] = on;
      step.positions.data<std::int32_t>()[b * tokens + t] = !decoder.arch().positions_from_mask
                                                                ? static_cast<std::int32_t>(t)
                                                            : on ? seen - 1
                                                                 : -1;
    }
    step.sequences.push_back({.rows = tokens, .mask = visible});
  }
  return step;
}

Tensor as_ids(const Tensor& wide) {
  Tensor ids({wide.size()}, DType::i32);
  for (std::int64_t i = 0; i < wide.size(); ++i)
    ids.data<std::int32_t>()[i] = static_cast<std::int32_t>(wide.data<std::int64_t>()[i]);
  return ids;
}

// Largest difference over largest value, at unmasked positions.
double relative_difference(const Tensor& ours, const Tensor& golden, const Tensor& mask) {
  const Tensor mine = on_host(ours);
  const std::int64_t width = golden.dim(-1);
  EXPECT_EQ(mine.size(), golden.size());
  double difference = 0, largest = 0;
  for (std::int64_t r = 0; r < mask.size(); ++r) {
    if (!mask.data<std::int64_t>()[r]) continue;
    for (std::int64_t c = 0; c < width; ++c) {
      const double g = golden.data<float>()[r * width + c];
      difference = std::max(difference, std::abs(mine.data<float>()[r * width + c] - g));
      largest = std::max(largest, std::abs(g));
    }
  }
  return difference / largest;
}

class Families : public ::testing::TestWithParam<Case> {
 protected:
  Device device() const { return GetParam().guarded ? guarded_device() : Device{}; }
};

TEST_P(Families, LogitsAndHiddenStatesEqualTransformers) {
  const auto directory = data / "fixtures" / GetParam().family;
  const auto golden = open_safetensors(directory / "golden.safetensors");
  const Tensor mask = golden->read("attention_mask");
  const auto decoder = load_decoder(open_model(directory));
  move_to(*decoder, device());

  const GuardedCounts before = guarded_counts();
  Step step = step_for(*decoder, mask, device());
  std::vector<Tensor> hidden;
  const Tensor normed = decoder->forward(as_ids(golden->read("input_ids")), step, &hidden);
  const Tensor logits = decoder->logits(normed, step);
  EXPECT_EQ(logits.device(), device());
  EXPECT_LT(relative_difference(logits, golden->read("logits"), mask), 1e-4);
  ASSERT_EQ(static_cast<int>(hidden.size()), decoder->layers() + 1);
  for (std::size_t i = 0; i < hidden.size(); ++i)
    EXPECT_LT(relative_difference(hidden[i], golden->read(text("hidden.", i)), mask), 1e-4) << i;
  // The device's own kernels ran, and the rest went through copies.
  EXPECT_EQ(guarded_counts().kernels > before.kernels, GetParam().guarded);
  EXPECT_EQ(guarded_counts().bytes_in > before.bytes_in, GetParam().guarded);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& entry : std::filesystem::directory_iterator(data / "fixtures"))
    for (const bool guarded : {false, true})
      all.push_back({entry.path().filename().string(), guarded});
  std::ranges::sort(all, {}, &Case::family);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, Families, ::testing::ValuesIn(cases()), [](const auto& info) {
  return info.param.family + (info.param.guarded ? "_guarded" : "_cpu");
});

// A trained model in f16: 160 tokens, the second row left-padded, every ninth position kept.
TEST(StoryOpt, LogitsEqualTransformers) {
  const auto golden = open_safetensors(data / "golden/story-opt.safetensors");
  const Tensor mask = golden->read("attention_mask"), kept = golden->read("rows");
  const Tensor expected = golden->read("logits");
  const auto decoder = load_decoder(open_model(story_opt));
  Step step = step_for(*decoder, mask, {});
  const Tensor logits =
      decoder->logits(decoder->forward(as_ids(golden->read("input_ids")), step), step);
  const std::int64_t tokens = mask.dim(1), vocab = logits.dim(1);
  double difference = 0, largest = 0;
  for (std::int64_t b = 0; b < 2; ++b)
    for (std::int64_t i = 0; i < kept.size(); ++i)
      for (std::int64_t v = 0; v < vocab; ++v) {
        const std::int64_t row = b * tokens + kept.data<std::int64_t>()[i];
        const double g = expected.data<float>()[(b * kept.size() + i) * vocab + v];
        difference = std::max(difference, std::abs(logits.data<float>()[row * vocab + v] - g));
        largest = std::max(largest, std::abs(g));
      }
  EXPECT_LT(difference / largest, 1e-4);
}

// The same weights in both kinds of file; the .bin stores one of them transposed.
TEST(TorchCheckpoint, LogitsEqualThoseOfSafetensors) {
  const auto logits_of = [](const char* kind) {
    const auto decoder = load_decoder(open_model(data / "bin/llama" / kind));
    Tensor ids({12}, DType::i32), mask({1, 12}, DType::i64);
    for (int i = 0; i < 12; ++i) {
      ids.data<std::int32_t>()[i] = i * 37 % 96;
      mask.data<std::int64_t>()[i] = 1;
    }
    Step step = step_for(*decoder, mask, {});
    return on_host(decoder->logits(decoder->forward(ids, step), step));
  };
  const Tensor a = logits_of("bin"), b = logits_of("safetensors");
  ASSERT_EQ(a.shape(), (Shape{12, 96}));
  ASSERT_EQ(b.shape(), a.shape());
  EXPECT_EQ(std::memcmp(a.host(), b.host(), a.bytes()), 0);
  EXPECT_TRUE(std::ranges::any_of(a.data<float>(), [](float v) { return v != 0; }));
}

// --- What does not fit is refused by name ------------------------------------------------------

class Misfits : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / text("quaver_misfit_", getpid());
    std::filesystem::remove_all(directory_);
    std::filesystem::copy(data / "fixtures/llama", directory_);
    std::filesystem::remove(directory_ / "golden.safetensors");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void set(const char* key, const Json& value) {
    Json j = read_json_file((directory_ / "config.json").string());
    j[key] = value;
    std::ofstream(directory_ / "config.json") << j;
  }
  std::string refusal() {
    try {
      open_model(directory_);
    } catch (const Error& e) {
      EXPECT_EQ(e.fault, Fault::bad_file);
      return e.what();
    }
    return "";
  }

  std::filesystem::path directory_;
};

TEST_F(Misfits, MissingTensors) {
  set("num_hidden_layers", 3);
  const std::string what = refusal();
  EXPECT_NE(what.find("tensor 'model.layers.2.input_layernorm.weight' is missing"),
            std::string::npos);
  EXPECT_NE(what.find("and 1 more"), std::string::npos);
}

TEST_F(Misfits, UnusedTensors) {
  set("num_hidden_layers", 1);
  EXPECT_NE(refusal().find("tensor 'model.layers.1.input_layernorm.weight' is not part of"),
            std::string::npos);
}

TEST_F(Misfits, WrongShapes) {
  set("vocab_size", 161);
  EXPECT_NE(refusal().find("'model.embed_tokens.weight' has shape [160, 64], expected [161, 64]"),
            std::string::npos);
}

TEST_F(Misfits, AHostileLayerCountCostsLittle) {
  set("num_hidden_layers", 10000);
  EXPECT_NE(refusal().find("more"), std::string::npos);
}

// --- Names without the inner model's prefix ----------------------------------------------------

struct Unprefixed {
  const char *family, *prefix;
};

class UnprefixedNames : public ::testing::TestWithParam<Unprefixed> {};
INSTANTIATE_TEST_SUITE_P(All, UnprefixedNames,
                         ::testing::Values(Unprefixed{"gpt2", "transformer."},
                                           Unprefixed{"bloom", "transformer."},
                                           Unprefixed{"opt", "model."},
                                           Unprefixed{"llama", "model."}),
                         [](const auto& info) { return std::string(info.param.family); });

TEST_P(UnprefixedNames, GiveTheSameModel) {
  const auto from = data / "fixtures" / GetParam().family;
  const auto to = std::filesystem::temp_directory_path() /
                  text("quaver_unprefixed_", getpid(), "_", from.stem());
  std::filesystem::remove_all(to);
  write_without_prefix(from, to, GetParam().prefix);
  {
    const Checkpoint whole = open_model(from), bare = open_model(to);
    ASSERT_EQ(bare.source->tensors().size(), whole.source->tensors().size());
    for (std::size_t i = 0; i < whole.source->tensors().size(); ++i) {
      const TensorInfo& t = whole.source->tensors()[i];
      EXPECT_EQ(bare.source->tensors()[i].name, t.name);
      ASSERT_NE(bare.source->find(t.name), nullptr);
      const Tensor a = whole.source->read(t.name), b = bare.source->read(t.name);
      EXPECT_TRUE(std::equal(a.host(), a.host() + a.bytes(), b.host(), b.host() + b.bytes()));
    }
    EXPECT_EQ(bare.source->find("no such name"), nullptr);
    EXPECT_THROW(bare.source->read("no such name"), Error);
    const std::string full = whole.source->tensors().back().name;
    if (full.starts_with(GetParam().prefix)) {
      EXPECT_EQ(bare.source->find(full.substr(std::string(GetParam().prefix).size())), nullptr);
    }
  }
  std::filesystem::remove_all(to);
}

// Files often hold the head that the configuration ties to the embedding.
TEST(UnprefixedNames, KeepATiedHead) {
  const auto to = std::filesystem::temp_directory_path() / text("quaver_tied_", getpid());
  std::filesystem::remove_all(to);
  std::filesystem::create_directories(to);
  const auto from = data / "fixtures/gpt2";
  std::filesystem::copy_file(from / "config.json", to / "config.json");
  const auto source = open_checkpoint(from);
  ShardWriter writer(to);
  for (const TensorInfo& t : source->tensors())
    if (t.name.starts_with("transformer.")) writer.write(t.name.substr(12), source->read(t.name));
  writer.write("lm_head.weight", source->read("transformer.wte.weight"));
  writer.finish();
  EXPECT_EQ(open_model(to).ignored, std::vector<std::string>{"lm_head.weight"});
  std::filesystem::remove_all(to);
}

// --- A head with rows of length 1 --------------------------------------------------------------

class HeadWeight final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    if (name == "lm_head") weight = std::get<Tensor>(l.weight);
  }
  Tensor weight;
};

TEST(UnitHead, KeepsTheTypeThatIsStored) {
  const auto from = data / "fixtures/baichuan_alibi";
  const auto to = std::filesystem::temp_directory_path() / text("quaver_unit_head_", getpid());
  const auto source = open_checkpoint(from);
  const Tensor head = source->read("lm_head.weight");
  Tensor half = Tensor::raw(head.shape(), DType::f16);
  Tensor brain = Tensor::raw(head.shape(), DType::bf16);
  for (std::int64_t i = 0; i < head.size(); ++i) {
    half.data<Half>()[i] = to_half(head.data<float>()[i]);
    brain.data<BFloat16>()[i] = to_bfloat16(head.data<float>()[i]);
  }
  for (const auto& [stored, tolerance] : {std::pair{head, 1e-6}, {half, 1e-3}, {brain, 8e-3}}) {
    std::filesystem::remove_all(to);
    std::filesystem::create_directories(to);
    std::filesystem::copy_file(from / "config.json", to / "config.json");
    ShardWriter writer(to);
    for (const TensorInfo& t : source->tensors())
      writer.write(t.name, t.name == "lm_head.weight" ? stored : source->read(t.name));
    writer.finish();
    HeadWeight found;
    load_decoder(open_model(to))->visit(found);
    ASSERT_EQ(found.weight.dtype(), stored.dtype());
    const Tensor rows = to_f32(found.weight);
    for (std::int64_t r = 0; r < rows.dim(0); ++r) {
      double sum = 0;
      for (std::int64_t c = 0; c < rows.dim(1); ++c)
        sum += std::pow(double{rows.data<float>()[r * rows.dim(1) + c]}, 2);
      EXPECT_NEAR(sum, 1, tolerance) << stored.dtype() << " " << r;
    }
  }
  std::filesystem::remove_all(to);
}

TEST(CountNonFinite, EveryFloatType) {
  Tensor h({3}, DType::f16);
  h.data<Half>()[1] = Half{0x7c00};
  EXPECT_EQ(count_non_finite(h), 1);
  Tensor b({3}, DType::bf16);
  b.data<BFloat16>()[0] = BFloat16{0xff81};
  EXPECT_EQ(count_non_finite(b), 1);
  Tensor f({3});
  f.data<float>()[0] = -INFINITY;
  f.data<float>()[2] = NAN;
  EXPECT_EQ(count_non_finite(f), 2);
  const std::uint8_t bits[] = {0x7c, 0x7d, 0xff, 0x7f};
  Tensor e({4}, DType::f8_e4m3fn);
  std::copy(std::begin(bits), std::end(bits), reinterpret_cast<std::uint8_t*>(e.host()));
  EXPECT_EQ(count_non_finite(e), 2);
  EXPECT_EQ(count_non_finite(
                Tensor::wrap(std::shared_ptr<void>(e.base(), [](void*) {}), {4}, DType::f8_e5m2)),
            4);
  EXPECT_EQ(count_non_finite(Tensor({3}, DType::i32)), 0);
}

}  // namespace
}  // namespace quaver
