// GPTQ's stages are the block's data flow: the statistics of a linear's input are whole once every
// token has reached it, and what follows sees the quantized linear. So each chunk's forward runs on
// its own thread, one at a time, and parks at the first linear of each group until all chunks are
// there; then the group is quantized and they go on. One forward a block, in the order of chunks.
#include "quant/staged.h"

#include <algorithm>
#include <memory>
#include <set>

#include "quant/baton.h"

namespace quaver {
namespace {

constexpr std::int64_t probe_rows = 8;

// Sites that saw the same tensor.
struct Group {
  std::vector<Site> sites;
  Tensor hessian;
  std::int64_t tokens = 0;
  bool quantized = false;
};

// Notes which linears see the same input. Inputs are held, so that no two share memory.
class Probe final : public Observer {
 public:
  void input_of(const Linear& linear, const Tensor& x) override { seen_.emplace_back(&linear, x); }

  std::vector<Group> groups(const std::vector<Site>& sites) const {
    std::vector<Group> groups;
    std::vector<Tensor::Id> ids;
    std::vector<bool> taken(sites.size());
    for (const auto& [linear, x] : seen_) {
      const auto site = std::ranges::find(sites, linear, &Site::linear);
      if (site == sites.end() || taken[static_cast<std::size_t>(site - sites.begin())]) continue;
      taken[static_cast<std::size_t>(site - sites.begin())] = true;
      const auto at = std::ranges::find(ids, x.id()) - ids.begin();
      if (at == static_cast<std::ptrdiff_t>(ids.size())) {
        ids.push_back(x.id());
        groups.emplace_back();
      }
      groups[static_cast<std::size_t>(at)].sites.push_back(*site);
    }
    for (std::size_t i = 0; i < sites.size(); ++i)
      if (!taken[i]) groups.push_back({.sites = {sites[i]}});
    return groups;
  }

 private:
  std::vector<std::pair<const Linear*, Tensor>> seen_;
};

// Adds the first input of each group to its statistics, then parks.
class Collector final : public Observer {
 public:
  Collector(std::vector<Group>& groups, Baton::Park park)
      : groups_(groups), park_(std::move(park)) {}

  void input_of(const Linear& linear, const Tensor& x) override {
    for (Group& group : groups_) {
      const bool mine = std::ranges::find(group.sites, &linear, &Site::linear) != group.sites.end();
      if (!mine || group.quantized || !seen_.insert(&group).second) continue;
      if (!group.hessian) group.hessian = Tensor({x.dim(1), x.dim(1)});
      add_gram(group.hessian, x);
      group.tokens += x.dim(0);
      if (park_) park_();
    }
  }

 private:
  std::vector<Group>& groups_;
  Baton::Park park_;
  std::set<const Group*> seen_;  // counted for this chunk
};

class StagedBlock {
 public:
  StagedBlock(const StagedJob& job, std::vector<CalibrationChunk>& chunks)
      : job_(job), chunks_(chunks) {}

  StagedResult run() {
    if (!job_.needs.hessian) {
      Group all{.sites = job_.sites};
      quantize(all);
      for (const Site& site : job_.sites) result_.groups.push_back({site.name});
      return std::move(result_);
    }
    find_groups();
    for (const Group& group : groups_) {
      std::vector<std::string>& names = result_.groups.emplace_back();
      for (const Site& site : group.sites) names.push_back(site.name);
    }
    if (job_.sequential)
      run_staged();
    else
      run_twice();
    return std::move(result_);
  }

 private:
  Tensor forward(const CalibrationChunk& chunk, Observer* observer) const {
    Step step = step_of(chunk.rows, job_.layer);
    step.observer = observer;
    return job_.block->forward(chunk.hidden, step);
  }

  void find_groups() {
    const std::int64_t rows = std::min(probe_rows, chunks_.front().rows.front());
    Probe probe;
    forward({chunks_.front().hidden.rows(0, rows), {rows}}, &probe);
    groups_ = probe.groups(job_.sites);
  }

  void run_staged() {
    restore_known();
    const auto is_done = [](const Group& g) { return g.quantized; };
    if (std::ranges::all_of(groups_, is_done) && !job_.wants_output) return;
    std::vector<std::unique_ptr<Baton>> batons;
    for (CalibrationChunk& chunk : chunks_)
      batons.push_back(std::make_unique<Baton>([&](const Baton::Park& park) {
        Collector collector(groups_, park);
        chunk.hidden = forward(chunk, &collector);
      }));
    for (bool parked = true; parked;) {
      parked = false;
      for (const auto& baton : batons) parked = baton->resume() || parked;
      for (Group& group : groups_)
        if (!group.quantized && group.tokens > 0) quantize(group);
      if (std::ranges::all_of(groups_, is_done) && !job_.wants_output)
        return;  // the destructors unwind what is parked
    }
    quantize_rest();
  }

  void run_twice() {
    for (const CalibrationChunk& chunk : chunks_) {
      Collector collector(groups_, {});
      forward(chunk, &collector);
    }
    restore_known();  // only now: the statistics are those of the block as it was
    quantize_rest();
    if (!job_.wants_output) return;
    for (CalibrationChunk& chunk : chunks_) chunk.hidden = forward(chunk, nullptr);
  }

  void quantize_rest() {
    for (Group& group : groups_)
      if (!group.quantized) quantize(group);
  }

  // Groups that an earlier run solved whole need no statistics.
  void restore_known() {
    for (Group& group : groups_) {
      const auto is_known = [this](const Site& site) { return take_known(site); };
      group.quantized = std::ranges::all_of(group.sites, is_known);
    }
  }

  bool take_known(const Site& site) {
    const std::optional<Packed> packed = job_.known ? job_.known(site) : std::nullopt;
    if (packed) site.linear->weight = dequantized(*packed);
    return packed.has_value();
  }

  void quantize(Group& group) {
    BlockJob job{.sites = {},
                 .format = job_.format,
                 .hessian = std::move(group.hessian),
                 .tokens = group.tokens,
                 .done = [this](const Site& site, const SiteReport& report) {
                   if (job_.solved) job_.solved(site, report);
                 }};
    // A kill may have come between two sites of the group.
    for (const Site& site : group.sites)
      if (!take_known(site)) job.sites.push_back(site);
    group.quantized = true;
    if (job.sites.empty()) return;
    const std::int64_t inputs = group.sites.front().linear->inputs;
    if (job_.needs.hessian && !job.hessian) job.hessian = Tensor({inputs, inputs});
    if (job.hessian && job.tokens > 0)
      for (float& h : job.hessian.data<float>()) h /= static_cast<float>(job.tokens);
    job_.pass->run(job);
    if (job_.needs.hessian)
      for (const Site& site : job.sites) site.linear->weight = dequantized(site.linear->weight);
  }

  const StagedJob& job_;
  std::vector<CalibrationChunk>& chunks_;
  std::vector<Group> groups_;
  StagedResult result_;
};

}  // namespace

Step step_of(const std::vector<std::int64_t>& rows, int layer) {
  Step step;
  step.layer = layer;
  std::vector<std::int32_t> positions;
  for (const std::int64_t count : rows) {
    step.sequences.push_back({.rows = count});
    for (std::int64_t i = 0; i < count; ++i) positions.push_back(static_cast<std::int32_t>(i));
  }
  step.positions =
      Tensor::of<std::int32_t>(positions, {static_cast<std::int64_t>(positions.size())});
  return step;
}

StagedResult quantize_block(const StagedJob& job, std::vector<CalibrationChunk>& chunks) {
  ensure(!job.needs.hessian || (!chunks.empty() && !chunks.front().rows.empty()),
         "[quantize] no calibration tokens");
  return StagedBlock(job, chunks).run();
}

}  // namespace quaver
