#include "quant/forecast.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "core/file.h"
#include "core/host_memory.h"
#include "core/log.h"
#include "core/mapped_file.h"
#include "core/process_memory.h"
#include "core/random.h"
#include "core/threads.h"
#include "io/hf_directory.h"
#include "quant/head.h"
#include "quant/matrix.h"
#include "quant/output.h"
#include "quant/staged.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t probe_tokens = 128;  // of the forward that is measured
constexpr std::int64_t probe_head_tokens = 8;
constexpr std::int64_t solve_inputs = 1024;  // of the linear whose solve is measured, at most
constexpr std::uint64_t unforeseen = std::uint64_t{8} << 20;  // threads' own buffers, small objects

double seconds_from(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The least of a few times, within `allowed` seconds.
double fastest(double allowed, const std::function<void()>& work) {
  double best = 0, total = 0;
  for (int i = 0; i < 5 && (i == 0 || total < allowed); ++i) {
    const auto start = Clock::now();
    work();
    const double took = seconds_from(start);
    best = i == 0 ? took : std::min(best, took);
    total += took;
  }
  return best;
}

// Bytes that the calling thread's tensors take.
class ByteMeter final : public BufferOwner {
 public:
  void taken(void* buffer, std::size_t bytes) override {
    const std::lock_guard lock(mutex_);
    sizes_.emplace(buffer, bytes);
    now_ += bytes;
    most_ = std::max(most_, now_);
  }
  void freed(void* buffer) override {
    const std::lock_guard lock(mutex_);
    const auto it = sizes_.find(buffer);
    now_ -= it->second;
    sizes_.erase(it);
  }
  std::size_t now() const { return now_; }
  std::size_t most() const { return most_; }

 private:
  std::mutex mutex_;
  std::map<void*, std::size_t> sizes_;
  std::size_t now_ = 0, most_ = 0;
};

// Linears that see one input, and what the forward holds when it comes to the first of them.
struct Stop {
  std::vector<const PlannedSite*> sites;
  std::int64_t inputs = 0, rows = 0;
  std::size_t held = 0;
};

class StopFinder final : public Observer {
 public:
  StopFinder(const std::map<const Linear*, const PlannedSite*>& sites, const ByteMeter& meter)
      : sites_(sites), meter_(meter) {}

  void input_of(const Linear& linear, const Tensor& x) override {
    const auto site = sites_.find(&linear);
    if (site == sites_.end() || !seen_.insert(&linear).second) return;
    if (stops.empty() || !(last_.id() == x.id()))
      stops.push_back({{}, linear.inputs, x.dim(0), meter_.now()});
    stops.back().sites.push_back(site->second);
    last_ = x;
  }
  void forget() { last_ = {}; }
  std::vector<Stop> stops;

 private:
  const std::map<const Linear*, const PlannedSite*>& sites_;
  const ByteMeter& meter_;
  std::set<const Linear*> seen_;
  Tensor last_;
};

class Sizes final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape& shape) override {
    bytes += static_cast<std::uint64_t>(shape.size()) * sizeof(float);
  }
  void linear(const std::string& name, Linear& l) override {
    bytes += static_cast<std::uint64_t>(l.outputs) * static_cast<std::uint64_t>(l.inputs + 1) *
             sizeof(float);
    linears.emplace(name, &l);
  }
  std::uint64_t bytes = 0;
  std::map<std::string, Linear*> linears;
};

// One block of a kind, and how many of it there are.
struct Kind {
  int layer = 0, count = 0;
  std::vector<const PlannedSite*> sites;
  std::uint64_t bytes = 0;
  double seconds_to_load = 0, seconds_a_row = 0;
  double bytes_a_row = 0;    // of a running forward, at most
  double bytes_at_once = 0;  // of it, however many rows
  std::vector<Stop> stops;
  std::int64_t rows = 0;  // of the forward that was measured
};

// What a solve takes: factor * n^3 once a group, and for each [m, n] of it m * (walk * n^2 + each *
// n).
struct SolveCost {
  double factor = 0, walk = 0, each = 0;

  double of_group(double n) const { return factor * n * n * n; }
  double of_site(double m, double n) const { return m * n * (walk * n + each); }
};

class Forecaster {
 public:
  Forecaster(const Checkpoint& checkpoint, const Plan& plan, const ForecastInputs& inputs)
      : checkpoint_(checkpoint), plan_(plan), inputs_(inputs) {
    for (const PlannedSite& site : plan.sites) {
      auto& pass = passes_[site.method];
      if (!pass) pass = site.method->make(plan.method_options);
      exact_stream_ |= pass->wants_exact_stream();
    }
    find_kinds();
  }

  Forecast run() {
    Forecast f;
    drop_mapped_pages();
    set_host_buffer_cache(0);
    f.memory.base = resident_bytes();
    for (Kind& kind : kinds_) probe(kind);
    memory(f.memory);
    disk(f);
    for (const Kind& kind : kinds_)
      for (const Stop& stop : kind.stops) f.waits.emplace_back(held_bytes(kind, stop), kind.count);
    // How long a search of whole blocks takes only its method knows.
    if (inputs_.measuring > 0 && !plan_.needs.block)
      f.seconds = inputs_.seconds_to_read + seconds(f);
    drop_mapped_pages();
    return f;
  }

 private:
  void find_kinds() {
    std::map<std::string, std::size_t> known;
    std::vector<std::vector<const PlannedSite*>> layers(
        static_cast<std::size_t>(checkpoint_.model.layers) + (plan_.has_head ? 1 : 0));
    for (const PlannedSite& site : plan_.sites)
      layers.at(static_cast<std::size_t>(site.layer)).push_back(&site);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::string prefix = name_of(static_cast<int>(i));
      std::string signature;
      for (const PlannedSite* s : layers[i])
        signature += text(s->name.substr(prefix.size()), ' ', s->outputs, ' ', s->inputs, ' ',
                          s->method->name, '\n');
      const auto [at, fresh] = known.emplace(signature, kinds_.size());
      if (fresh) kinds_.push_back({.layer = static_cast<int>(i), .sites = layers[i]});
      ++kinds_[at->second].count;
    }
  }

  bool is_head(int layer) const { return layer == checkpoint_.model.layers; }
  std::string name_of(int layer) const {
    return is_head(layer) ? std::string() : text(checkpoint_.arch->blocks, '.', layer);
  }

  void probe(Kind& kind) {
    const std::string name = name_of(kind.layer);
    const auto start = Clock::now();
    const auto block = is_head(kind.layer) ? make_head(checkpoint_)
                                           : checkpoint_.arch->block(checkpoint_.model, kind.layer);
    Sizes sizes;
    sizes(name, *block);
    kind.bytes = sizes.bytes;
    if (!plan_.needs.calibration() && inputs_.measuring == 0) return;
    if (is_head(kind.layer))
      share_parameters(*load_head(checkpoint_), *block);
    else
      load(checkpoint_, name, *block);
    kind.seconds_to_load = seconds_from(start);
    if (!plan_.needs.calibration()) return;
    std::map<const Linear*, const PlannedSite*> sites;
    for (const PlannedSite* s : kind.sites) sites.emplace(sizes.linears.at(s->name), s);
    kind.rows = std::min(probe_tokens, inputs_.window);
    if (is_head(kind.layer)) {  // the job stops before the product: it makes no logits
      kind.rows = std::min<std::int64_t>(probe_head_tokens, kind.rows);
      meter_forward(kind, *block, sites, kind.rows);
      kind.bytes_a_row =
          static_cast<double>(kind.stops.at(0).held) / static_cast<double>(kind.rows);
      return;
    }
    const auto less = meter_forward(kind, *block, sites, kind.rows / 2);
    const auto more = meter_forward(kind, *block, sites, kind.rows);
    // What does not grow with the rows are the kernels' own buffers.
    kind.bytes_a_row = static_cast<double>(more - std::min(less, more)) /
                       static_cast<double>(kind.rows - kind.rows / 2);
    kind.bytes_at_once =
        static_cast<double>(more) - kind.bytes_a_row * static_cast<double>(kind.rows);
    if (inputs_.measuring == 0) return;
    kind.seconds_a_row = seconds_a_row(*block, {kind.rows}, kind.layer);
    // As a chunk of the job has it, if there is time.
    const std::vector<std::int64_t> chunk(
        static_cast<std::size_t>(std::max<std::int64_t>(inputs_.chunk_rows / inputs_.window, 1)),
        inputs_.window);
    const auto rows = static_cast<double>(inputs_.window) * static_cast<double>(chunk.size());
    if (kind.seconds_a_row * rows < inputs_.measuring)
      kind.seconds_a_row = seconds_a_row(*block, chunk, kind.layer);
  }

  // Bytes that a forward holds at most; finds its stops.
  std::size_t meter_forward(Kind& kind, Block& block,
                            const std::map<const Linear*, const PlannedSite*>& sites,
                            std::int64_t rows) const {
    const auto meter = std::make_shared<ByteMeter>();
    StopFinder finder(sites, *meter);
    const SpillSet::Scope unused(nullptr);
    set_buffer_owner(meter);
    {
      const Tensor x = noise(rows, checkpoint_.model.hidden);
      Step step = step_of({rows}, kind.layer);
      step.observer = &finder;
      block.forward(x, step);
      finder.forget();
    }
    kind.stops = std::move(finder.stops);
    return meter->most();
  }

  double seconds_a_row(Block& block, const std::vector<std::int64_t>& sequences, int layer) const {
    std::int64_t rows = 0;
    for (const std::int64_t count : sequences) rows += count;
    const Tensor x = noise(rows, checkpoint_.model.hidden);
    const double took = fastest(inputs_.measuring / 4, [&] {
      Step step = step_of(sequences, layer);
      block.forward(x, step);
    });
    return took / static_cast<double>(rows);
  }

  static Tensor noise(std::int64_t rows, std::int64_t cols) {
    constexpr std::size_t period = 65521;  // a prime: no two rows are alike
    Tensor x = Tensor::raw({rows, cols});
    const auto values = x.data<float>();
    Random random(1);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] =
          i < period ? static_cast<float>(random.below(2001)) / 1000 - 1 : values[i - period];
    return x;
  }

  std::uint64_t solve_bytes(const Stop& stop) const {
    const auto n = static_cast<std::uint64_t>(stop.inputs);
    std::uint64_t most = 0;
    for (const PlannedSite* site : stop.sites)
      most = std::max(most, passes_.at(site->method)->workspace(site->outputs, site->inputs));
    return most + n * n * sizeof(float) * (exact_stream_ ? 2 : 1);
  }

  std::uint64_t held_bytes(const Kind& kind, const Stop& stop) const {
    const double a_row = static_cast<double>(stop.held) / static_cast<double>(kind.rows);
    return static_cast<std::uint64_t>(a_row * static_cast<double>(inputs_.rows) *
                                      (exact_stream_ ? 2 : 1));
  }

  // Of what the experts of a block share (quant/pooled.h).
  std::uint64_t pooled_bytes(const Kind& kind) const {
    std::uint64_t entry = 0, inner = 0;
    for (const PlannedSite* site : kind.sites) {
      if (!passes_.at(site->method)->wants_pooled_experts()) continue;
      const auto n = static_cast<std::uint64_t>(site->inputs);
      if (site->pool == Pool::entry) entry = n * n * sizeof(float);
      if (site->pool == Pool::inner) inner = n * n * sizeof(float);
    }
    return entry > 0 || inner > 0 ? entry + inner : 0;
  }

  void memory(MemoryNeeds& needs) const {
    const auto ends = checkpoint_.arch->ends(checkpoint_.model);
    Sizes sizes;
    ends->visit(sizes);
    if (plan_.needs.calibration()) needs.ends = sizes.bytes;
    std::uint64_t params = sizes.bytes;
    const double streams = exact_stream_ ? 2 : 1;
    needs.base += unforeseen;
    for (const Kind& kind : kinds_) {
      params += kind.bytes * static_cast<std::uint64_t>(kind.count);
      needs.block = std::max(needs.block, kind.bytes * (exact_stream_ ? 2 : 1));
      double running = 0;
      if (plan_.needs.calibration())
        running = kind.bytes_a_row * static_cast<double>(inputs_.chunk_rows) * streams +
                  kind.bytes_at_once;
      for (const PlannedSite* site : kind.sites) {
        const Stop alone{{site}, site->inputs, 0, 0};
        needs.solving = std::max(needs.solving, solve_bytes(alone) + pooled_bytes(kind));
      }
      double statistics = 0;
      for (const Stop& stop : kind.stops) {
        needs.waiting = std::max(needs.waiting, held_bytes(kind, stop));
        const auto n = static_cast<double>(stop.inputs);
        statistics = std::max(statistics, n * n * sizeof(float) * streams);
      }
      needs.running = std::max(needs.running, static_cast<std::uint64_t>(running));
      needs.statistics =
          std::max(needs.statistics, static_cast<std::uint64_t>(statistics) + pooled_bytes(kind));
    }
    // Without forwards the buffers of one solve are what the next takes again.
    if (!plan_.needs.calibration()) needs.running = needs.solving;
    if (inputs_.evaluate) needs.evaluation = params;
    // Pages of both checkpoints are dropped now and then; a tensor is written in one go.
    std::uint64_t stored = 0, largest = 0;
    for (const TensorInfo& t : checkpoint_.source->tensors()) {
      const auto bytes = static_cast<std::uint64_t>(t.shape.size()) * size_of(t.dtype);
      stored += bytes;
      largest = std::max(largest, bytes);
    }
    needs.reading = 2 * std::min<std::uint64_t>(stored, most_mapped_bytes) + largest;
  }

  void disk(Forecast& f) const {
    double stored = 0, weights = 0;
    for (const PlannedSite& site : plan_.sites)
      weights += static_cast<double>(site.outputs) * static_cast<double>(site.inputs);
    f.disk = 0;
    for (const OutputTensor& tensor : planned_output(checkpoint_, plan_)) {
      f.disk += tensor.plan.bytes();
      if (tensor.site && !tensor.plan.name.ends_with(".g_idx"))
        stored += 8.0 * static_cast<double>(tensor.plan.bytes());
    }
    f.bits_per_weight = stored / weights;
    f.disk += side_file_bytes(checkpoint_.directory) + checkpoint_.config.dump(2).size();
    const std::uint64_t state = static_cast<std::uint64_t>(inputs_.rows) *
                                static_cast<std::uint64_t>(checkpoint_.model.hidden) *
                                sizeof(float) * (exact_stream_ ? 2 : 1);
    // The states of two blocks while one takes the other's place, and one more on its way.
    if (plan_.needs.calibration()) f.disk_working = 3 * state;
  }

  // --- time ---

  // Seconds of the method for [m, n] weights.
  double solve_seconds(const Method& method, const Scheme& scheme, std::int64_t m,
                       std::int64_t n) const {
    Tensor hessian, cross, x;
    if (method.needs.calibration()) x = noise(2 * n, n);
    if (method.needs.hessian) {
      hessian = Tensor({n, n});
      add_gram(hessian, x);
    }
    if (exact_stream_ && method.needs.hessian) cross = hessian;
    return fastest(inputs_.measuring / 8, [&] {
      Linear linear{.outputs = m, .inputs = n};
      linear.weight = noise(m, n);
      BlockJob job{.sites = {{"probe", &linear, scheme}},
                   .format = plan_.format,
                   .hessian = hessian,
                   .tokens = 2 * n,
                   .sequences = 1,
                   .cross = cross,
                   .samples = method.needs.samples > 0 ? x : Tensor(),
                   .done = [](const Site&, const SiteReport&) {}};
      passes_.at(&method)->run(job);
    });
  }

  SolveCost solve_cost(const Method& method, Scheme scheme, std::int64_t most_inputs,
                       std::int64_t most_outputs) const {
    // Many rows, since the work is cut by rows and wide pieces are faster.
    const std::int64_t many = std::clamp<std::int64_t>(most_outputs / 32 * 32, 64, 2048),
                       few = many / 64 * 32;  // whole words of any bits
    const auto a_row = [&](std::int64_t n, double& once) {
      const double less = solve_seconds(method, scheme, few, n),
                   more = solve_seconds(method, scheme, many, n);
      const double slope = std::max(0.0, more - less) / static_cast<double>(many - few);
      once = std::max(0.0, less - slope * static_cast<double>(few));
      return slope;
    };
    // Inputs that every group size up to the larger one divides; half and whole of them.
    const std::int64_t group = std::max<std::int64_t>(scheme.group_size, 32);
    const std::int64_t n = std::clamp(most_inputs / (4 * group), std::int64_t{1},
                                      std::max<std::int64_t>(solve_inputs / (4 * group), 1)) *
                           4 * group;
    double once_small = 0, once = 0;
    const auto large = static_cast<double>(n), small = large / 4;
    if (scheme.group_size > 0) scheme.group_size = std::min(scheme.group_size, n / 4);
    const double s = a_row(n / 4, once_small), l = a_row(n, once);
    // walk * n^2 + each * n through both.
    const double walk = std::max(0.0, (l / large - s / small) / (large - small));
    const double each = std::max(0.0, l / large - walk * large);
    return {once / (large * large * large), walk, each};
  }

  double gram_seconds_a_row(std::int64_t n) const {
    const std::int64_t rows = std::min<std::int64_t>(inputs_.chunk_rows, (1 << 22) / n + 1);
    Tensor x = noise(rows, n), sum({n, n});
    double took = fastest(inputs_.measuring / 8, [&] { add_gram(sum, x); });
    if (exact_stream_)
      took += fastest(inputs_.measuring / 8, [&] {
        multiply(view_of(x).transposed(), view_of(x).transposed(), view_of(sum),
                 GemmArgs::Into::add);
      });
    return took / static_cast<double>(rows);
  }

  double seconds(Forecast& f) const {
    std::map<const Method*, SolveCost> costs;
    std::map<std::int64_t, double> grams;
    std::int64_t most_inputs = 0, most_outputs = 0;
    for (const PlannedSite& site : plan_.sites) {
      most_inputs = std::max(most_inputs, site.inputs);
      most_outputs = std::max(most_outputs, site.outputs);
    }
    for (const PlannedSite& site : plan_.sites)
      if (!costs.contains(site.method))
        costs.emplace(site.method,
                      solve_cost(*site.method, site.scheme, most_inputs, most_outputs));
    double total = 0;
    const auto rows = static_cast<double>(inputs_.rows);
    for (const Kind& kind : kinds_) {
      double solves = 0, statistics = 0;
      const bool pools = pooled_bytes(kind) > 0;
      const double forwards = (exact_stream_ ? 2 : 1) +
                              (plan_.needs.calibration() && !inputs_.true_sequential ? 1 : 0) +
                              (pools ? 1 : 0);
      const double passes = kind.seconds_a_row * rows * forwards;
      for (const Stop& stop : kind.stops) {
        auto& gram = grams[stop.inputs];
        if (gram == 0) gram = gram_seconds_a_row(stop.inputs);
        // What reaches the experts' last linears is counted for the pool, too.
        const double times = pools && stop.sites.front()->pool == Pool::inner ? 2 : 1;
        statistics +=
            times * gram * rows * static_cast<double>(stop.rows) / static_cast<double>(kind.rows);
        const SolveCost& cost = costs.at(stop.sites.front()->method);
        solves += cost.of_group(static_cast<double>(stop.inputs));
      }
      for (const PlannedSite* site : kind.sites) {
        const SolveCost& cost = costs.at(site->method);
        solves +=
            cost.of_site(static_cast<double>(site->outputs), static_cast<double>(site->inputs));
      }
      log(LogLevel::detail, "block ", kind.layer, " and its like: ", kind.seconds_to_load,
          " s to load, ", passes, " s forward, ", statistics, " s statistics, ", solves,
          " s to solve");
      total += (kind.seconds_to_load + passes + statistics + solves) * kind.count;
    }
    const double disk = disk_seconds(f);
    log(LogLevel::detail, disk, " s for the disk");
    return total + disk;
  }

  // All is written, and read back with what it came from.
  double disk_seconds(Forecast& f) const {
    const std::string some(std::size_t{1} << 22, '\1');
    const double allowed = inputs_.measuring / 20;
    double large = 0;
    try {
      const FileHandle file = open_unnamed(inputs_.scratch);
      large = fastest(allowed, [&] {
        write_all(file.get(), std::as_bytes(std::span(some)), inputs_.scratch);
        sync_descriptor(file.get(), inputs_.scratch);
      });
      SpillPool pool(inputs_.scratch, 0);
      const auto set = pool.make();
      const SpillSet::Scope scope(set);
      const Tensor spilled({static_cast<std::int64_t>(some.size()) / 4});
      f.seconds_to_spill = fastest(allowed, [&] {
        set->leave();
        set->enter();
      });
      f.seconds_to_spill /= static_cast<double>(some.size());
    } catch (const Error& error) {
      log(LogLevel::detail, "the disk's rate is not known: ", error.what());
      return 0;
    }
    const double rate = static_cast<double>(some.size()) / std::max(large, 1e-6);
    return static_cast<double>(f.disk) / rate + 2 * inputs_.seconds_to_read;
  }

  const Checkpoint& checkpoint_;
  const Plan& plan_;
  const ForecastInputs& inputs_;
  std::map<const Method*, std::unique_ptr<BlockPass>> passes_;
  bool exact_stream_ = false;
  std::vector<Kind> kinds_;
};

}  // namespace

std::uint64_t MemoryNeeds::peak() const {
  const std::uint64_t working = std::max(statistics, solving) + running;
  return base + std::max({ends + waiting, block + working + waiting, reading, evaluation});
}

std::uint64_t MemoryNeeds::least() const {
  return base +
         std::max({ends, block + std::max(statistics + running, solving), reading, evaluation});
}

double Forecast::seconds_with(std::uint64_t resident) const {
  double total = seconds;
  for (const auto& [held, count] : waits)
    if (held > resident) total += static_cast<double>(held - resident) * count * seconds_to_spill;
  return total;
}

Forecast forecast(const Checkpoint& checkpoint, const Plan& plan, const ForecastInputs& inputs) {
  return Forecaster(checkpoint, plan, inputs).run();
}

}  // namespace quaver
