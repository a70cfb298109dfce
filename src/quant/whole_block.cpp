#include "quant/whole_block.h"

#include <algorithm>
#include <utility>

namespace quaver {
namespace {

class ChunkView final : public BlockView {
 public:
  ChunkView(const StagedJob& job, const std::vector<CalibrationChunk>& chunks,
            const std::vector<Tensor>& targets)
      : job_(job), chunks_(chunks), targets_(targets) {}

  std::size_t parts() const override { return chunks_.size(); }
  Block& block() override { return *job_.block; }
  void visit(std::size_t part, const Visit& what) override {
    const CalibrationChunk& chunk = chunks_.at(part);
    Step step = step_of(chunk.rows, job_.layer);
    chunk.enter();
    what(chunk.hidden, targets_[part], step);
    chunk.leave();
  }

 private:
  const StagedJob& job_;
  const std::vector<CalibrationChunk>& chunks_;
  const std::vector<Tensor>& targets_;
};

class WholeBlock {
 public:
  WholeBlock(const StagedJob& job, std::vector<CalibrationChunk>& chunks)
      : job_(job), chunks_(chunks) {}

  StagedResult run() {
    StagedResult result;
    for (const Site& site : job_.sites) result.groups.push_back({site.name});
    if (!take_known()) {
      find_targets();
      quantize();
    } else if (job_.exact && job_.wants_output) {
      find_targets();
    }
    if (!job_.wants_output) return result;
    for_chunks([this](std::size_t i) {
      chunks_[i].hidden = forward(*job_.block, chunks_[i].hidden, chunks_[i].rows);
      if (job_.exact) chunks_[i].exact = std::move(targets_[i]);
    });
    return result;
  }

 private:
  template <class Work>
  void for_chunks(Work&& work) {
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      const SpillSet::Scope scope(chunks_[i].memory);
      chunks_[i].enter();
      work(i);
      chunks_[i].leave();
    }
  }

  Tensor forward(Block& block, const Tensor& x, const std::vector<std::int64_t>& rows) const {
    Step step = step_of(rows, job_.layer);
    return block.forward(x, step);
  }

  // All of the block or nothing.
  bool take_known() {
    if (!job_.known || job_.sites.empty()) return job_.sites.empty();
    std::vector<Tensor> weights;
    for (const Site& site : job_.sites) {
      const std::optional<Packed> packed = job_.known(site);
      if (!packed) return false;
      weights.push_back(dequantized(*packed));
    }
    for (std::size_t i = 0; i < weights.size(); ++i)
      job_.sites[i].linear->weight = std::move(weights[i]);
    return true;
  }

  void find_targets() {
    targets_.resize(chunks_.size());
    for_chunks([this](std::size_t i) {
      const CalibrationChunk& chunk = chunks_[i];
      targets_[i] = job_.exact ? forward(*job_.exact, chunk.exact, chunk.rows)
                               : forward(*job_.block, chunk.hidden, chunk.rows);
    });
  }

  void quantize() {
    ChunkView view(job_, chunks_, targets_);
    std::int64_t tokens = 0, sequences = 0;
    for (const CalibrationChunk& chunk : chunks_)
      for (const std::int64_t rows : chunk.rows) tokens += rows, ++sequences;
    std::vector<BlockPass*> passes;
    for (const Site& site : job_.sites)
      if (BlockPass* pass = &job_.pass(site); std::ranges::count(passes, pass) == 0)
        passes.push_back(pass);
    std::vector<std::pair<Site, SiteReport>> solved;
    for (BlockPass* pass : passes) {
      BlockJob job{.sites = {},
                   .format = job_.format,
                   .hessian = {},
                   .tokens = tokens,
                   .sequences = sequences,
                   .cross = {},
                   .samples = {},
                   .block = &view,
                   .done = [&solved](const Site& site, const SiteReport& report) {
                     solved.emplace_back(site, report);
                   }};
      for (const Site& site : job_.sites)
        if (&job_.pass(site) == pass) job.sites.push_back(site);
      pass->run(job);
    }
    // Only now: the block is made whole or again. A kill may have come between two of these.
    for (const auto& [site, report] : solved)
      if (job_.solved && !(job_.known && job_.known(site))) job_.solved(site, report);
    for (const Site& site : job_.sites) site.linear->weight = dequantized(site.linear->weight);
  }

  const StagedJob& job_;
  std::vector<CalibrationChunk>& chunks_;
  std::vector<Tensor> targets_;
};

}  // namespace

StagedResult quantize_whole_block(const StagedJob& job, std::vector<CalibrationChunk>& chunks) {
  return WholeBlock(job, chunks).run();
}

}  // namespace quaver
