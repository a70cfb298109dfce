// GPTQ's stages are the block's data flow: the statistics of a linear's input are whole once every
// token has reached it, and what follows sees the quantized linear. So each chunk's forward runs on
// its own thread, one at a time, and parks at the first linear of each group until all chunks are
// there; then the group is quantized and they go on. One forward a block, in the order of chunks.
// Where the exact stream is asked for, each chunk has a second forward, through the block as it
// was, which is always one step ahead: it parks with its input of the group that the first comes
// to.
#include "quant/staged.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "quant/baton.h"
#include "quant/matrix.h"
#include "quant/pooled.h"
#include "quant/whole_block.h"

namespace quaver {
namespace {

constexpr std::int64_t probe_rows = 8;

// Sites that saw the same tensor.
struct Group {
  std::vector<Site> sites;
  std::vector<const Linear*> exact;
  Tensor hessian, cross, samples;
  std::int64_t tokens = 0, sampled = 0;
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
      if (!taken[i])
        groups.push_back(
            {.sites = {sites[i]}, .exact = {}, .hessian = {}, .cross = {}, .samples = {}});
    return groups;
  }

 private:
  std::vector<std::pair<const Linear*, Tensor>> seen_;
};

// What the exact stream's forward of a chunk has come to.
struct Ahead {
  const Group* group = nullptr;
  Tensor x;
};

Group* group_of(std::vector<Group>& groups, const Linear& linear, bool exact) {
  for (Group& group : groups) {
    const bool mine =
        exact ? std::ranges::find(group.exact, &linear) != group.exact.end()
              : std::ranges::find(group.sites, &linear, &Site::linear) != group.sites.end();
    if (mine) return group.quantized ? nullptr : &group;
  }
  return nullptr;
}

// Parks with the first input of each group.
class Leader final : public Observer {
 public:
  Leader(std::vector<Group>& groups, Ahead& ahead, Baton::Park park)
      : groups_(groups), ahead_(ahead), park_(std::move(park)) {}

  void input_of(const Linear& linear, const Tensor& x) override {
    const Group* group = group_of(groups_, linear, true);
    if (!group || !seen_.insert(group).second) return;
    ahead_ = {group, x};
    park_();
  }

 private:
  std::vector<Group>& groups_;
  Ahead& ahead_;
  Baton::Park park_;
  std::set<const Group*> seen_;
};

std::int64_t all_rows(const std::vector<CalibrationChunk>& chunks) {
  std::int64_t rows = 0;
  for (const CalibrationChunk& chunk : chunks)
    for (const std::int64_t count : chunk.rows) rows += count;
  return rows;
}

// Adds the first input of each group to its statistics, then parks.
class Collector final : public Observer {
 public:
  Collector(const Needs& needs, std::int64_t rows, std::vector<Group>& groups, Ahead* ahead,
            Baton::Park park)
      : needs_(needs), rows_(rows), groups_(groups), ahead_(ahead), park_(std::move(park)) {}

  void input_of(const Linear& linear, const Tensor& x) override {
    Group* group = group_of(groups_, linear, false);
    if (!group || !seen_.insert(group).second) return;
    const SpillSet::Scope all_chunks(nullptr);  // whose statistics these are
    if (x.dim(0) > 0) {  // an expert may have no token: then it holds no statistics either
      if (needs_.hessian && !group->hessian) group->hessian = Tensor({x.dim(1), x.dim(1)});
      if (needs_.hessian) add_gram(group->hessian, x);
      if (needs_.samples > 0) add_samples(*group, x);
      group->tokens += x.dim(0);
    }
    if (ahead_ && !linear.routed) add_cross(*group, x);
    park_();
  }

 private:
  void add_cross(Group& group, const Tensor& x) {
    ensure(ahead_->group == &group && ahead_->x.shape() == x.shape(),
           "[quantize] the two streams came to different linears");
    Tensor difference = Tensor::raw({x.dim(0), x.dim(1)});
    const auto exact = std::as_const(ahead_->x).data<float>(), seen = x.data<float>();
    auto d = difference.data<float>();
    bool differs = false;
    for (std::size_t i = 0; i < d.size(); ++i) {
      d[i] = exact[i] - seen[i];
      differs |= d[i] != 0;
    }
    ahead_->x = {};
    if (!differs) return;
    if (!group.cross) group.cross = Tensor({x.dim(1), x.dim(1)});
    Tensor inputs = x;
    multiply(view_of(difference).transposed(), view_of(inputs).transposed(), view_of(group.cross),
             GemmArgs::Into::add);
  }

  // Every so many-th row of the calibration, counted over all chunks.
  void add_samples(Group& group, const Tensor& x) const {
    const std::int64_t most = needs_.samples, step = std::max<std::int64_t>(1, rows_ / most);
    if (!group.samples) group.samples = Tensor({most, x.dim(1)});
    for (std::int64_t r = 0; r < x.dim(0) && group.sampled < most; ++r)
      if ((group.tokens + r) % step == 0)
        std::ranges::copy(
            x.rows(r, r + 1).data<float>(),
            group.samples.rows(group.sampled, group.sampled + 1).data<float>().begin()),
            ++group.sampled;
  }

  const Needs& needs_;
  const std::int64_t rows_;  // of the whole calibration
  std::vector<Group>& groups_;
  Ahead* ahead_;
  Baton::Park park_;
  std::set<const Group*> seen_;  // counted for this chunk
};

class StagedBlock {
 public:
  StagedBlock(const StagedJob& job, std::vector<CalibrationChunk>& chunks)
      : job_(job), chunks_(chunks) {}

  StagedResult run() {
    if (!job_.needs.calibration()) {
      Group all{.sites = job_.sites, .exact = {}, .hessian = {}, .cross = {}, .samples = {}};
      quantize(all);
      for (const Site& site : job_.sites) result_.groups.push_back({site.name});
      return std::move(result_);
    }
    find_groups();
    for (const Group& group : groups_) {
      std::vector<std::string>& names = result_.groups.emplace_back();
      for (const Site& site : group.sites) names.push_back(site.name);
    }
    // Statistics of later linears are those of the block as it was: known weights must wait.
    if (job_.sequential) restore_known();
    run_staged();
    if (!job_.sequential) put_in_place();
    return std::move(result_);
  }

 private:
  Tensor forward(const Tensor& hidden, const std::vector<std::int64_t>& rows, Block& block,
                 Observer* observer) const {
    Step step = step_of(rows, job_.layer);
    step.observer = observer;
    return block.forward(hidden, step);
  }

  void find_groups() {
    const CalibrationChunk& first = chunks_.front();
    first.enter();
    const std::int64_t rows = std::min(probe_rows, first.rows.front());
    Probe probe;
    forward(first.hidden.rows(0, rows), {rows}, *job_.block, &probe);
    groups_ = probe.groups(job_.sites);
    first.leave();
    if (!job_.exact) return;
    for (Group& group : groups_)
      for (const Site& site : group.sites) {
        const auto at = std::ranges::find(job_.sites, site.linear, &Site::linear);
        group.exact.push_back(
            job_.exact_linears[static_cast<std::size_t>(at - job_.sites.begin())]);
      }
  }

  std::int64_t sequences() const {
    std::size_t count = 0;
    for (const CalibrationChunk& chunk : chunks_) count += chunk.rows.size();
    return static_cast<std::int64_t>(count);
  }

  bool is_done() const {
    return std::ranges::all_of(groups_, [](const Group& g) { return g.quantized; });
  }

  void run_staged() {
    if (is_done() && !job_.wants_output) return;
    std::vector<Ahead> ahead(chunks_.size());
    std::vector<std::unique_ptr<Baton>> leaders, batons;
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      CalibrationChunk& chunk = chunks_[i];
      Ahead* mine = job_.exact ? &ahead[i] : nullptr;
      if (mine)
        leaders.push_back(std::make_unique<Baton>([this, &chunk, mine](const Baton::Park& park) {
          const SpillSet::Scope scope(chunk.memory);
          Leader leader(groups_, *mine, park);
          chunk.exact = forward(chunk.exact, chunk.rows, *job_.exact, &leader);
        }));
      batons.push_back(std::make_unique<Baton>([this, &chunk, mine](const Baton::Park& park) {
        const SpillSet::Scope scope(chunk.memory);
        Collector collector(job_.needs, all_rows(chunks_), groups_, mine, park);
        Tensor output = forward(chunk.hidden, chunk.rows, *job_.block, &collector);
        if (job_.sequential) chunk.hidden = std::move(output);
      }));
    }
    for (bool parked = true; parked;) {
      parked = false;
      for (std::size_t i = 0; i < batons.size(); ++i) {
        chunks_[i].enter();
        if (job_.exact) leaders[i]->resume();
        parked = batons[i]->resume() || parked;
        chunks_[i].leave();
      }
      for (Group& group : groups_)
        if (!group.quantized && group.tokens > 0) quantize_next(group);
      if (is_done() && !job_.wants_output) return;  // the destructors unwind what is parked
    }
    for (Group& group : groups_)  // what no token reached
      if (!group.quantized) quantize_next(group);
  }

  static bool is_routed(const Group& group) { return group.sites.front().linear->routed; }

  bool wants_pool(const Group& group) const {
    return is_routed(group) && std::ranges::any_of(group.sites, [this](const Site& site) {
             return job_.pass(site).wants_pooled_experts();
           });
  }

  void quantize_next(Group& group) {
    if (!pool_ && wants_pool(group)) pool_experts();
    if (!group.quantized) return quantize(group);
    group.hessian = group.cross = {};  // an earlier run has solved it
  }

  // The first expert's turn: all chunks are parked, every linear before the experts is quantized
  // and none of theirs is. What all of them will see of the block as it stands is collected by a
  // forward of its own, since what reaches the later experts' last linears is not there yet.
  void pool_experts() {
    pool_.emplace();
    for (const CalibrationChunk& chunk : chunks_) {
      const SpillSet::Scope scope(chunk.memory);
      chunk.enter();
      forward(chunk.hidden, chunk.rows, *job_.block, &*pool_);
      chunk.leave();
    }
    if (!job_.sequential) return;
    for (Group& group : groups_)
      if (!group.quantized && is_routed(group)) restore_known(group);
  }

  // Not sequential: the block has been seen as it was; now it gets its weights, and its output is
  // that of the quantized block.
  void put_in_place() {
    for (auto& [linear, weight] : waiting_) linear->weight = std::move(weight);
    if (!job_.wants_output) return;
    for (CalibrationChunk& chunk : chunks_) {
      const SpillSet::Scope scope(chunk.memory);
      chunk.enter();
      chunk.hidden = forward(chunk.hidden, chunk.rows, *job_.block, nullptr);
      chunk.leave();
    }
  }

  // Groups that an earlier run solved whole need no statistics.
  void restore_known() {
    // The pooled statistics are of experts as they were: known ones wait for them.
    const bool pools = std::ranges::any_of(groups_, [this](const Group& group) {
      return wants_pool(group) && !std::ranges::all_of(group.sites, [this](const Site& site) {
               return job_.known && job_.known(site).has_value();
             });
    });
    for (Group& group : groups_)
      if (!pools || !is_routed(group)) restore_known(group);
  }

  void restore_known(Group& group) {
    const auto is_known = [this](const Site& site) { return take_known(site); };
    group.quantized = std::ranges::all_of(group.sites, is_known);
  }

  bool take_known(const Site& site) {
    const std::optional<Packed> packed = job_.known ? job_.known(site) : std::nullopt;
    if (packed) set_weight(site, dequantized(*packed));
    return packed.has_value();
  }

  void set_weight(const Site& site, Tensor weight) {
    if (job_.sequential || !job_.needs.calibration())
      site.linear->weight = std::move(weight);
    else
      waiting_.emplace_back(site.linear, std::move(weight));
  }

  void quantize(Group& group) {
    BlockJob job{.sites = {},
                 .format = job_.format,
                 .hessian = std::move(group.hessian),
                 .tokens = group.tokens,
                 .sequences = sequences(),
                 .cross = std::move(group.cross),
                 .samples = group.sampled > 0 ? group.samples.rows(0, group.sampled) : Tensor(),
                 .done = [this](const Site& site, const SiteReport& report) {
                   if (job_.solved) job_.solved(site, report);
                 }};
    // A kill may have come between two sites of the group.
    for (const Site& site : group.sites)
      if (!take_known(site)) job.sites.push_back(site);
    group.quantized = true;
    group.samples = {};
    if (job.sites.empty()) return;
    const std::int64_t inputs = group.sites.front().linear->inputs;
    if (job_.needs.hessian && !job.hessian) job.hessian = Tensor({inputs, inputs});
    for (Tensor* sum : {&job.hessian, &job.cross})
      if (*sum && job.tokens > 0)
        for (float& h : sum->data<float>()) h /= static_cast<float>(job.tokens);
    if (pool_ && wants_pool(group))
      job.pooled = pool_->blend(group.sites.front().linear->pool, job.tokens, job.hessian);
    std::vector<Weight> before;
    for (const Site& site : job.sites) before.push_back(site.linear->weight);
    const std::vector<Site> sites = std::move(job.sites);
    std::vector<BlockPass*> passes;
    for (const Site& site : sites)
      if (BlockPass* pass = &job_.pass(site); std::ranges::count(passes, pass) == 0)
        passes.push_back(pass);
    for (BlockPass* pass : passes) {
      job.sites.clear();
      for (const Site& site : sites)
        if (&job_.pass(site) == pass) job.sites.push_back(site);
      pass->run(job);
    }
    if (!job_.needs.calibration()) return;
    for (std::size_t i = 0; i < sites.size(); ++i) {
      Tensor made = dequantized(sites[i].linear->weight);
      sites[i].linear->weight = before[i];
      set_weight(sites[i], std::move(made));
    }
  }

  const StagedJob& job_;
  std::vector<CalibrationChunk>& chunks_;
  std::vector<Group> groups_;
  std::vector<std::pair<Linear*, Tensor>> waiting_;
  std::optional<PooledGrams> pool_;
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
  ensure(!job.needs.calibration() || (!chunks.empty() && !chunks.front().rows.empty()),
         "[quantize] no calibration tokens");
  if (job.needs.block) return quantize_whole_block(job, chunks);
  return StagedBlock(job, chunks).run();
}

}  // namespace quaver
