// What the engine gives to methods: samples of a linear's input, blocks with inputs and targets.
#include "quant/staged.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "loading/model.h"
#include "quant/matrices_test.h"
#include "quant/pass.h"

namespace quaver {
namespace {

class LinearsByName final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override { found.emplace(name, &l); }
  std::map<std::string, Linear*> found;
};

// Block 0 of the tiny llama, twice, and calibration chunks of unlike lengths.
class EngineTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t rows = 48;

  EngineTest()
      : checkpoint_(open_model(std::filesystem::path(QUAVER_TEST_DATA) / "fixtures/llama")) {
    for (auto* block : {&block_, &exact_}) {
      *block = checkpoint_.arch->block(checkpoint_.model, 0);
      load(checkpoint_, "model.layers.0", **block);
    }
    LinearsByName mine, others;
    mine("model.layers.0", *block_);
    others("model.layers.0", *exact_);
    for (const auto& [name, linear] : mine.found) {
      job_.sites.push_back({name, linear, {4, 16, true}});
      job_.exact_linears.push_back(others.found.at(name));
    }
    for (const std::int64_t count : {16, 24, 8})
      chunks_.push_back({golden_matrix(count, checkpoint_.model.hidden, 3), {count}, {}});
    job_.block = block_.get();
    job_.format = &find_format("gptq");
    job_.known = [this](const Site& site) -> std::optional<Packed> {
      const auto at = solved_.find(site.name);
      return at == solved_.end() ? std::nullopt : std::optional(at->second);
    };
    job_.solved = [this](const Site& site, const SiteReport&) {
      EXPECT_TRUE(solved_.emplace(site.name, std::get<Packed>(site.linear->weight)).second);
    };
  }

  static Tensor run(Block& block, const Tensor& x) {
    Step step = step_of({x.dim(0)}, 0);
    return block.forward(x, step);
  }
  static bool equal(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && std::ranges::equal(a.data<float>(), b.data<float>());
  }

  Checkpoint checkpoint_;
  std::unique_ptr<Block> block_, exact_;
  StagedJob job_;
  std::vector<CalibrationChunk> chunks_;
  std::map<std::string, Packed> solved_;
};

void round_all(BlockJob& job) {
  for (Site& site : job.sites) {
    const Tensor w = dequantized(site.linear->weight);
    site.linear->weight = job.format->pack(round_to_nearest(w, site.scheme, *job.format));
    job.done(site, {.name = site.name, .method = "test"});
  }
}

class Function final : public BlockPass {
 public:
  explicit Function(std::function<void(BlockJob&)> run) : run_(std::move(run)) {}
  void run(BlockJob& job) override { run_(job); }

 private:
  const std::function<void(BlockJob&)> run_;
};

TEST_F(EngineTest, SamplesAreEvenlySpacedRowsOfTheInput) {
  // The first linears' input is the norm of the block's: rows of it, recomputed alone.
  class FirstInput final : public Observer {
   public:
    void input_of(const Linear&, const Tensor& x) override {
      if (!first) first = Tensor::of<float>(x.data<float>(), x.shape());
    }
    Tensor first;
  };
  std::vector<float> expected;
  std::int64_t at = 0;
  for (const CalibrationChunk& chunk : chunks_) {
    FirstInput observer;
    Step step = step_of(chunk.rows, 0);
    step.observer = &observer;
    block_->forward(chunk.hidden, step);
    for (std::int64_t r = 0; r < chunk.hidden.dim(0); ++r, ++at)
      if (at % 4 == 0) {
        const auto row = observer.first.rows(r, r + 1).data<float>();
        expected.insert(expected.end(), row.begin(), row.end());
      }
  }
  int groups = 0;
  Function pass([&](BlockJob& job) {
    ASSERT_TRUE(job.samples);
    EXPECT_FALSE(job.hessian);
    EXPECT_EQ(job.samples.dim(0), 12);
    EXPECT_EQ(job.samples.dim(1), job.sites.front().linear->inputs);
    if (job.sites.front().name.find("q_proj") != std::string::npos) {
      EXPECT_TRUE(std::ranges::equal(std::as_const(job.samples).data<float>(), expected));
    }
    ++groups;
    round_all(job);
  });
  job_.needs = {.samples = 12};
  job_.pass = [&](const Site&) -> BlockPass& { return pass; };
  quantize_block(job_, chunks_);
  EXPECT_EQ(groups, 4);
  EXPECT_EQ(solved_.size(), job_.sites.size());
}

TEST_F(EngineTest, WholeBlocksComeWithInputsAndTargets) {
  std::vector<Tensor> inputs;
  for (const CalibrationChunk& chunk : chunks_) inputs.push_back(chunk.hidden);
  int runs = 0;
  Function pass([&](BlockJob& job) {
    ASSERT_NE(job.block, nullptr);
    EXPECT_EQ(job.sites.size(), job_.sites.size());
    EXPECT_EQ(job.tokens, rows);
    EXPECT_EQ(job.sequences, 3);
    ASSERT_EQ(job.block->parts(), 3u);
    for (std::size_t i = 0; i < 3; ++i)
      job.block->visit(i, [&](const Tensor& input, const Tensor& target, Step& step) {
        EXPECT_TRUE(equal(input, inputs[i]));
        EXPECT_TRUE(equal(target, run(*exact_, inputs[i])));
        EXPECT_TRUE(equal(job.block->block().forward(input, step), target));
      });
    ++runs;
    round_all(job);
  });
  job_.needs = {.block = true};
  job_.pass = [&](const Site&) -> BlockPass& { return pass; };
  quantize_block(job_, chunks_);
  EXPECT_EQ(runs, 1);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(equal(chunks_[i].hidden, run(*block_, inputs[i])));
    EXPECT_FALSE(equal(chunks_[i].hidden, run(*exact_, inputs[i])));
  }
}

TEST_F(EngineTest, WholeBlocksTargetTheExactStream) {
  for (CalibrationChunk& chunk : chunks_)
    chunk.exact = golden_matrix(chunk.rows[0], checkpoint_.model.hidden, 9);
  std::vector<Tensor> exact;
  for (const CalibrationChunk& chunk : chunks_) exact.push_back(run(*exact_, chunk.exact));
  Function pass([&](BlockJob& job) {
    for (std::size_t i = 0; i < 3; ++i)
      job.block->visit(i, [&](const Tensor&, const Tensor& target, Step&) {
        EXPECT_TRUE(equal(target, exact[i]));
      });
    round_all(job);
  });
  job_.needs = {.block = true};
  job_.exact = exact_.get();
  job_.pass = [&](const Site&) -> BlockPass& { return pass; };
  quantize_block(job_, chunks_);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(equal(chunks_[i].exact, exact[i]));
}

TEST_F(EngineTest, WholeBlocksGoOnBehindAKill) {
  int runs = 0;
  Function pass([&](BlockJob& job) {
    ++runs;
    round_all(job);
  });
  job_.needs = {.block = true};
  job_.pass = [&](const Site&) -> BlockPass& { return pass; };
  auto again = chunks_;
  quantize_block(job_, chunks_);
  const Tensor after = chunks_[0].hidden;
  // Half of it is known: quantized again, and what was known is not told twice.
  solved_.erase(solved_.begin());
  load(checkpoint_, "model.layers.0", *block_);
  chunks_ = again;
  quantize_block(job_, chunks_);
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(equal(chunks_[0].hidden, after));
  // All of it is.
  load(checkpoint_, "model.layers.0", *block_);
  chunks_ = again;
  quantize_block(job_, chunks_);
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(equal(chunks_[0].hidden, after));
}

}  // namespace
}  // namespace quaver
