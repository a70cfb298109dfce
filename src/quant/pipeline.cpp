// Block by block: a block is loaded, observed, quantized, written and freed. Everything else of the
// checkpoint goes along byte for byte.
#include "quant/pipeline.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "core/file.h"
#include "core/host_memory.h"
#include "core/log.h"
#include "core/mapped_file.h"
#include "core/process_memory.h"
#include "io/dialect.h"
#include "io/hf_directory.h"
#include "io/placed_shards.h"
#include "quant/forecast.h"
#include "quant/head.h"
#include "quant/job.h"
#include "quant/output.h"
#include "quant/redo.h"
#include "quant/staged.h"
#include "quant/work.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t rows_per_chunk = 2048;  // rows of one forward, at least
constexpr std::int64_t most_chunks = 256;      // each has a thread, or two

// Of the files in OUT.partial that belong to the output.
std::int64_t output_bytes(const fs::path& partial) {
  std::uintmax_t total = 0;
  for (const std::string& name : names_in(partial)) {
    std::error_code error;
    if (is_working_name(name) || !fs::is_regular_file(partial / name, error)) continue;
    if (const auto bytes = fs::file_size(partial / name, error); !error) total += bytes;
  }
  return static_cast<std::int64_t>(total);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::int64_t tokens_of(const Calibration& calibration) {
  std::int64_t total = 0;
  for (const auto& window : calibration.windows) total += static_cast<std::int64_t>(window.size());
  return total;
}

std::int64_t rows_of_chunk(std::int64_t tokens) {
  return std::max(rows_per_chunk, tokens / most_chunks + 1);
}

// Finds the linears of a loaded block by name.
class LinearFinder final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override { linears.emplace(name, &l); }
  std::map<std::string, Linear*> linears;
};

// How a job stays within its memory.
struct MemoryLimit {
  std::uint64_t spare = 0;  // beyond what the job needs in any case
  std::uint64_t kept = 0;   // of it for buffers between two uses; the rest is for what chunks hold
  bool spills = false;      // that is less than they would hold
};

MemoryLimit memory_limit(const QuantizeOptions& options, const MemoryNeeds& needs) {
  constexpr double share = 0.9;  // of the machine's memory that is free
  std::uint64_t limit = std::numeric_limits<std::uint64_t>::max();
  if (const std::uint64_t free = available_bytes(); free > 0)
    limit = static_cast<std::uint64_t>(share * static_cast<double>(free + needs.base));
  if (!options.max_ram.empty()) {
    limit = parse_size("--max-ram", options.max_ram);
    if (needs.least() > limit)
      fail(Fault::resource, "--max-ram ", options.max_ram, ": this job needs at least ",
           (needs.least() + 999'999) / 1'000'000, "M of memory",
           needs.evaluation > needs.block + needs.solving
               ? ", most of it for --evaluate, which loads MODEL whole"
               : "");
  }
  const std::uint64_t spare = limit > needs.least() ? limit - needs.least() : 0;
  const bool spills = needs.peak() > limit;
  return {spare, std::min(spare / 8, needs.running), spills};
}

// Every block needs buffers of the same sizes: kept for the next one while a job runs, since asking
// the system for fresh pages took a fifth of its time.
class KeptBuffers {
 public:
  explicit KeptBuffers(std::uint64_t bytes) { set_host_buffer_cache(bytes); }
  ~KeptBuffers() { set_host_buffer_cache(default_host_buffer_cache); }
};

class Pipeline {
 public:
  Pipeline(const Checkpoint& checkpoint, const Plan& plan, const QuantizeOptions& options,
           const std::function<void(const QuantizeProgress&)>& progress, Clock::time_point start,
           std::span<const Arch* const> own_archs, const Kept* kept)
      : checkpoint_(checkpoint),
        own_archs_(own_archs),
        earlier_(kept),
        plan_(plan),
        options_(options),
        progress_(progress),
        start_(start) {
    for (const PlannedSite& site : plan.sites) {
      methods_[site.name] = site.method;
      auto& pass = passes_[site.method];
      if (!pass) pass = site.method->make(plan.method_options);
      if (is_kept(site)) {
        weights_ += static_cast<double>(site.outputs) * static_cast<double>(site.inputs);
        continue;
      }
      ++sites_to_do_;
      cost_total_ += cost_of(site.outputs, site.inputs);
      exact_stream_ |= pass->wants_exact_stream();
    }
  }

  QuantizeReport run(const Calibration& calibration, const fs::path& partial,
                     const std::string& out, const MemoryLimit& limit) {
    const std::vector<OutputTensor> output = planned_output(checkpoint_, plan_);
    PlacedShards shards(partial, plans_of(output), plan_.shard_bytes);
    Work work(partial, shards);
    if (limit.spills) pool_.emplace(partial / "work", limit.spare - limit.kept);
    kept_ = limit.kept;
    samples_ = static_cast<std::int64_t>(calibration.windows.size());
    take_up(work);
    if (plan_.needs.calibration()) begin_hidden(calibration, work);
    loop_start_ = Clock::now();
    end_stage("calibration");
    for (int layer = work.first_layer(); layer < stages_to_do(); ++layer)
      quantize_layer(layer, work);
    chunks_.clear();
    work.wait();
    end_stage("quantize");
    tell("write");
    for (const OutputTensor& tensor : output) write(tensor, work, shards);
    shards.finish();
    write_config(partial);
    copy_side_files(checkpoint_.directory, partial);
    report_.disk_bytes = output_bytes(partial);
    end_stage("write");
    tell("verify");
    verify(partial);
    end_stage("verify");
    if (earlier_) report_.modules = earlier_->merged(report_.modules);
    report_.out = out;
    report_.bits_per_weight = stored_bits_ / weights_;
    report_.seconds = seconds_since(start_);
    report_.peak_rss_bytes = static_cast<std::int64_t>(peak_resident_bytes());
    return report_;
  }

 private:
  // Work of one linear, a token: its product and its share of the statistics.
  static double cost_of(std::int64_t outputs, std::int64_t inputs) {
    return static_cast<double>(inputs) * static_cast<double>(outputs + inputs);
  }

  void end_stage(const char* stage) {
    report_.stages.emplace_back(stage, seconds_since(stage_start_));
    stage_start_ = Clock::now();
  }

  void tell(const char* stage, const SiteReport* site = nullptr) {
    report_.memory.push_back({seconds_since(start_), static_cast<std::int64_t>(resident_bytes())});
    if (!progress_) return;
    QuantizeProgress p{.stage = stage,
                       .module = site ? site->name : "",
                       .done = static_cast<int>(report_.modules.size()),
                       .total = sites_to_do_,
                       .error = site ? site->error : 0,
                       .elapsed = seconds_since(start_)};
    p.samples = samples_;
    p.rows = site ? site->rows : 0;
    rows_done_ += p.rows;
    if (const double loop = seconds_since(loop_start_); rows_done_ > 0 && loop > 0)
      p.rows_per_second = static_cast<double>(rows_done_) / loop;
    // Learned from what this run has done.
    if (const double fresh = cost_done_ - cost_known_; fresh > 0)
      p.left = seconds_since(loop_start_) * (cost_total_ - cost_done_) / fresh;
    progress_(p);
  }

  void embed(const Calibration& calibration) {
    tell("calibration");
    const auto ends = checkpoint_.arch->ends(checkpoint_.model);
    load(checkpoint_, *ends);
    const std::int64_t rows = rows_of_chunk(tokens_of(calibration));
    std::vector<std::int32_t> ids;
    CalibrationChunk chunk;
    const auto finish = [&] {
      if (ids.empty()) return;
      if (pool_) chunk.memory = pool_->make();
      const SpillSet::Scope scope(chunk.memory);
      Step step = step_of(chunk.rows, 0);
      chunk.hidden =
          ends->embed(Tensor::of<std::int32_t>(ids, {static_cast<std::int64_t>(ids.size())}), step);
      if (exact_stream_) chunk.exact = chunk.hidden;
      chunk.leave();
      chunks_.push_back(std::move(chunk));
      chunk = {};
      ids.clear();
    };
    for (const auto& window : calibration.windows) {
      ids.insert(ids.end(), window.begin(), window.end());
      chunk.rows.push_back(static_cast<std::int64_t>(window.size()));
      if (static_cast<std::int64_t>(ids.size()) >= rows) finish();
    }
    finish();
  }

  // What an earlier run of this job has done.
  void take_up(const Work& work) {
    for (const SiteReport& site : work.reports()) note(site);
    cost_known_ = cost_done_;
    rows_done_ = 0;
    if (work.first_layer() > 0)
      groups_ = work.remark().get<std::vector<std::vector<std::string>>>();
    for (const auto& group : groups_) endings_.insert(group.begin(), group.end());
    if (!work.reports().empty())
      log(LogLevel::info, "going on behind ", work.reports().size(), " of ", sites_to_do_,
          " modules, which an earlier run has quantized");
  }

  // The states that enter the first block to do: embedded, or as the earlier run left them.
  void begin_hidden(const Calibration& calibration, const Work& work) {
    if (work.first_layer() >= stages_to_do()) return;
    embed(calibration);
    set_host_buffer_cache(0);  // no block needs buffers of the embedding's size
    set_host_buffer_cache(kept_);
    if (work.first_layer() > 0) work.restore(chunks_);
  }

  // Blocks, and behind them the head where it is quantized.
  int stages() const {
    return static_cast<int>(checkpoint_.model.layers) + (plan_.has_head ? 1 : 0);
  }
  // An output whose modules are quantized again needs no more than its blocks up to the last of
  // them.
  int stages_to_do() const { return earlier_ ? earlier_->stages : stages(); }
  bool is_kept(const PlannedSite& site) const {
    return earlier_ && earlier_->sites.contains(site.name);
  }
  bool is_head(int layer) const { return layer == checkpoint_.model.layers; }
  std::string name_of(int layer) const {
    return is_head(layer) ? std::string() : text(checkpoint_.arch->blocks, '.', layer);
  }
  std::unique_ptr<Block> loaded(int layer) const {
    if (is_head(layer)) return load_head(checkpoint_);
    auto block = made(layer);
    load(checkpoint_, name_of(layer), *block);
    return block;
  }
  std::unique_ptr<Block> made(int layer) const {  // without weights
    return is_head(layer) ? make_head(checkpoint_)
                          : checkpoint_.arch->block(checkpoint_.model, layer);
  }
  // Whether the block's output enters another one, or a head that wants statistics of it.
  bool wants_output(int layer) const {
    if (layer + 1 == stages_to_do()) return false;
    if (layer + 1 < checkpoint_.model.layers) return true;
    return !is_head(layer) && plan_.has_head && plan_.head()->method->needs.calibration();
  }

  void quantize_layer(int layer, Work& work) {
    const auto is_to_do = [&](const PlannedSite& s) { return s.layer == layer && !is_kept(s); };
    if (!plan_.needs.calibration() && std::ranges::none_of(plan_.sites, is_to_do)) return;
    const std::string name = name_of(layer);
    const auto block = loaded(layer);
    LinearFinder finder;
    finder(name, *block);
    std::unique_ptr<Block> exact;
    LinearFinder exact_finder;
    if (exact_stream_) {
      exact = made(layer);
      share_parameters(*block, *exact);
      exact_finder(name, *exact);
    }
    if (plan_.needs.calibration()) drop_mapped_pages();
    StagedJob job{.block = block.get(),
                  .layer = layer,
                  .format = plan_.format,
                  .pass = [this](const Site& site) -> BlockPass& {
                    return *passes_.at(methods_.at(site.name));
                  },
                  .exact = exact.get(),
                  .exact_linears = {},
                  .needs = is_head(layer) ? plan_.head()->method->needs : plan_.needs,
                  .sequential = options_.true_sequential,
                  .wants_output = wants_output(layer)};
    job.known = [&](const Site& site) -> std::optional<Packed> {
      if (const PlannedSite& planned = planned_of(site.name); is_kept(planned))
        return earlier_->packed(planned, *plan_.format);
      if (!work.has(site.name)) return std::nullopt;
      return work.packed(site.name, *site.linear, site.scheme, *plan_.format);
    };
    job.solved = [&](const Site& site, const SiteReport& report) {
      work.add(layer, site, report);
      note(report);
    };
    for (const PlannedSite& site : plan_.sites)
      if (site.layer == layer) {
        job.sites.push_back({site.name, finder.linears.at(site.name), site.scheme});
        if (exact) job.exact_linears.push_back(exact_finder.linears.at(site.name));
      }
    if (job.sites.empty() && !(job.needs.calibration() && job.wants_output)) return;
    const StagedResult result = quantize_block(job, chunks_);
    if (!plan_.needs.calibration())
      for (const PlannedSite& site : plan_.sites)
        if (site.layer == layer)
          read_pages(static_cast<std::size_t>(site.outputs * site.inputs) * 4);
    if (is_head(layer)) return;
    for (const auto& group : result.groups) note_group(name, group);
    if (job.needs.calibration() && job.wants_output) work.add_hidden(layer + 1, chunks_, groups_);
  }

  const PlannedSite& planned_of(const std::string& name) const {
    const auto found = std::ranges::find(plan_.sites, name, &PlannedSite::name);
    ensure(found != plan_.sites.end(), "[quantize] ", name, " is not planned");
    return *found;
  }

  void note(const SiteReport& site) {
    QuantizedModule module{.name = site.name,
                           .method = site.method,
                           .bits = site.scheme.bits,
                           .group_size = site.scheme.group_size,
                           .error = site.error,
                           .damp = site.damp,
                           .fallback = site.fallback,
                           .seconds = site.seconds,
                           .sym = site.scheme.symmetric,
                           .rows = site.rows,
                           .condition = site.condition,
                           .pooled = site.pooled};
    if (site.dead_columns > 0)
      log(LogLevel::detail, site.name, ": ", site.dead_columns, " inputs are always zero");
    if (!site.fallback.empty())
      log(LogLevel::warning, site.name, ": ", site.method, " instead: ", site.fallback);
    const PlannedSite& planned = planned_of(site.name);
    module.outputs = planned.outputs;
    module.inputs = planned.inputs;
    cost_done_ += cost_of(planned.outputs, planned.inputs);
    weights_ += static_cast<double>(planned.outputs) * static_cast<double>(planned.inputs);
    report_.modules.push_back(std::move(module));
    tell("quantize", &site);
  }

  // "self_attn.q_proj" of "model.layers.3.self_attn.q_proj", once for all layers.
  void note_group(const std::string& block, const std::vector<std::string>& group) {
    std::vector<std::string> endings;
    for (const std::string& site : group)
      if (endings_.insert(site.substr(block.size() + 1)).second)
        endings.push_back(site.substr(block.size() + 1));
    if (!endings.empty()) groups_.push_back(std::move(endings));
  }

  // What a solve has not put to its place already.
  void write(const OutputTensor& tensor, const Work& work, PlacedShards& shards) {
    const std::string& name = tensor.plan.name;
    if (tensor.site && !name.ends_with(".g_idx"))
      stored_bits_ += 8.0 * static_cast<double>(tensor.plan.bytes());
    if (tensor.site && !is_kept(*tensor.site)) {
      digests_[name] = work.digest_of(name);
      return;
    }
    const bool copied = !tensor.site && !tensor.part;
    const Tensor value = tensor.site   ? earlier_->made.source->read(name)
                         : tensor.part ? tensor.part->read(checkpoint_)
                                       : checkpoint_.source->read(name);
    shards.write(name, value);
    if (copied)
      copied_.push_back(name);
    else
      digests_[name] = digest({value.host(), value.bytes()});
    read_pages(value.bytes());
  }

  // Pages of mapped files are dropped when there are some.
  void read_pages(std::size_t bytes) {
    pages_read_ += bytes;
    if (pages_read_ < most_mapped_bytes) return;
    pages_read_ = 0;
    drop_mapped_pages();
  }

  void write_config(const fs::path& partial) const {
    const auto grouped = [](const PlannedSite& site) { return site.scheme.group_size > 0; };
    const Dialect* dialect = find_dialect(Json{{"quant_method", "gptq"}});
    Json description = dialect->describe(
        {.format = plan_.format,
         .scheme = plan_.scheme,
         .desc_act = options_.desc_act && !options_.static_groups && plan_.needs.hessian &&
                     std::ranges::any_of(plan_.sites, grouped),
         .static_groups = options_.static_groups,
         .true_sequential = options_.true_sequential,
         .lm_head = plan_.has_head,
         .damp_percent = options_.damp,
         .modules_in_block = groups_,
         .block_name = std::string(checkpoint_.arch->blocks),
         .exceptions = plan_.exceptions,
         .quantizer = "quaver:" QUAVER_VERSION});
    if (earlier_) {  // it has seen all groups, and some of it may be in another order
      const Json& before = earlier_->made.quantization;
      description["modules_in_block_to_quantize"] = before["modules_in_block_to_quantize"];
      if (before["desc_act"] == true) description["desc_act"] = true;
    }
    Json config = checkpoint_.config;
    config["quantization_config"] = description;
    if (plan_.has_head && checkpoint_.model.tied_head) untie_head(config);
    write_file_atomically(partial / "config.json", config.dump(2) + "\n");
    write_file_atomically(partial / "quantize_config.json", description.dump(2) + "\n");
    if (!checkpoint_.arch_file.empty())
      write_file_atomically(partial / arch_file_name, read_file(checkpoint_.arch_file, 1 << 20));
  }

  // Reads the output as any reader would, and compares it with what was meant.
  void verify(const fs::path& partial) {
    // By the copy of the arch file, if there is one.
    const Checkpoint made = open_model(partial, {.own = own_archs_});
    for (const auto& [name, wanted] : digests_) {
      const Tensor t = made.source->read(name);
      if (digest({t.host(), t.bytes()}) != wanted)
        fail(Fault::io, partial.string(), ": tensor '", name,
             "' reads back different from what "
             "was written");
      read_pages(t.bytes());
    }
    for (const std::string& name : copied_) {
      const Tensor a = checkpoint_.source->read(name), b = made.source->read(name);
      bool same = a.dtype() == b.dtype() && a.shape() == b.shape();
      std::size_t at = 0;
      if (same)
        for_slices(a, [&](const Tensor& slice) {
          same = same && std::memcmp(slice.host(), b.host() + at, slice.bytes()) == 0;
          at += slice.bytes();
        });
      if (!same)
        fail(Fault::io, partial.string(), ": tensor '", name, "' differs from the source's");
      read_pages(2 * a.bytes());
    }
  }

  const Checkpoint& checkpoint_;
  const std::span<const Arch* const> own_archs_;
  const Kept* earlier_;  // the output whose modules are quantized again; null: none
  const Plan& plan_;
  const QuantizeOptions& options_;
  const std::function<void(const QuantizeProgress&)>& progress_;
  const Clock::time_point start_;
  std::map<const Method*, std::unique_ptr<BlockPass>> passes_;
  std::map<std::string, const Method*> methods_;  // by site
  int sites_to_do_ = 0;
  bool exact_stream_ = false;
  std::optional<SpillPool> pool_;  // none: everything stays in memory
  std::vector<CalibrationChunk> chunks_;
  QuantizeReport report_;
  std::set<std::string> endings_;
  std::vector<std::string> copied_;
  std::vector<std::vector<std::string>> groups_;
  std::map<std::string, std::uint64_t> digests_;
  std::size_t pages_read_ = 0, kept_ = 0;
  std::int64_t samples_ = 0, rows_done_ = 0;
  double cost_done_ = 0, cost_known_ = 0, cost_total_ = 0, stored_bits_ = 0, weights_ = 0;
  Clock::time_point loop_start_, stage_start_ = Clock::now();
};

void check_place(const std::string& model, const fs::path& target, const std::string& out) {
  std::error_code ignored;
  const fs::path source = fs::weakly_canonical(model, ignored);
  const fs::path goal = fs::weakly_canonical(target, ignored);
  const auto [end, unused] = std::mismatch(goal.begin(), goal.end(), source.begin(), source.end());
  ensure(end != goal.end(), "OUT is the model's own directory, or one around it: ", out);
}

// What must be known before any work.
struct Prepared {
  std::uint64_t weights = 0;  // digest
  Calibration calibration;
  double seconds_to_read = 0;

  ForecastInputs forecast_inputs(const QuantizeOptions& options, const fs::path& scratch,
                                 double measuring) const {
    ForecastInputs inputs{.rows = tokens_of(calibration),
                          .true_sequential = options.true_sequential,
                          .evaluate = !options.evaluate.empty(),
                          .seconds_to_read = seconds_to_read,
                          .scratch = scratch,
                          .measuring = measuring};
    for (const auto& window : calibration.windows)
      inputs.window = std::max(inputs.window, static_cast<std::int64_t>(window.size()));
    inputs.chunk_rows = std::min(rows_of_chunk(inputs.rows) + inputs.window - 1, inputs.rows);
    return inputs;
  }
};

Prepared prepare(const Checkpoint& checkpoint, const Plan& plan, const QuantizeOptions& options) {
  Prepared p;
  const auto start = Clock::now();
  p.weights = checked_weights(checkpoint);
  p.seconds_to_read = seconds_since(start);
  if (plan.needs.calibration())
    p.calibration = read_calibration(options, checkpoint.directory, checkpoint.model);
  return p;
}

// `elapsed` is what went by before it was made.
QuantizeForecast in_short(const Forecast& f, const MemoryLimit& limit, double elapsed) {
  const std::uint64_t waiting = limit.spare - limit.kept;
  const std::uint64_t memory = limit.spills ? f.memory.least() + waiting : f.memory.peak();
  return {.seconds = elapsed + (limit.spills ? f.seconds_with(waiting) : f.seconds),
          .peak_rss_bytes = static_cast<std::int64_t>(memory),
          .disk_bytes = static_cast<std::int64_t>(f.disk)};
}

}  // namespace

QuantizePlan plan_checkpoint(const std::string& model, const QuantizeOptions& options,
                             const ArchSearch& search) {
  constexpr double measuring = 8;
  ensure(options.redo.empty() && options.redo_settings.empty(),
         "--redo changes a finished output; a plan is of a whole job");
  const auto start = Clock::now();
  const Checkpoint checkpoint = open_model(model, search);
  const Plan plan = make_plan(checkpoint, options);
  const Prepared prepared = prepare(checkpoint, plan, options);
  const double elapsed = seconds_since(start);
  const Forecast f =
      forecast(checkpoint, plan, prepared.forecast_inputs(options, fs::current_path(), measuring));
  set_host_buffer_cache(default_host_buffer_cache);
  QuantizePlan told{.bits_per_weight = f.bits_per_weight,
                    .samples = static_cast<std::int64_t>(prepared.calibration.windows.size()),
                    .rows = tokens_of(prepared.calibration),
                    .expected = in_short(f, memory_limit(options, f.memory), elapsed),
                    .least_ram_bytes = static_cast<std::int64_t>(f.memory.least()),
                    .working_disk_bytes = static_cast<std::int64_t>(f.disk_working)};
  for (const PlannedSite& site : plan.sites)
    told.modules.push_back({.name = site.name,
                            .method = std::string(site.method->name),
                            .bits = site.scheme.bits,
                            .group_size = site.scheme.group_size,
                            .outputs = site.outputs,
                            .inputs = site.inputs,
                            .sym = site.scheme.symmetric});
  return told;
}

QuantizeReport quantize_checkpoint(const std::string& model, const std::string& out,
                                   const QuantizeOptions& options, const QuantizeHooks& hooks,
                                   const ArchSearch& search) {
  // Seconds, at least what one try of each part takes: a job without forwards is over soon.
  constexpr double measuring_forwards = 0.5, measuring_rounding = 0.05;
  const auto start = Clock::now();
  ensure(!out.empty(), "OUT is empty; expected the directory to write");
  fs::path target = fs::path(out).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  const Checkpoint checkpoint = open_model(model, search);
  Plan plan = make_plan(checkpoint, options);
  std::optional<Redo> redo = plan_redo(checkpoint, options, plan);
  check_place(model, target, out);
  const Prepared prepared = prepare(checkpoint, plan, options);
  const Calibration& calibration = prepared.calibration;
  Json job = describe_job(checkpoint, prepared.weights, options, calibration);
  std::optional<Kept> earlier;
  if (redo) {
    if (auto done = redone_report(target, job, redo->record, search.own)) return *done;
    earlier = take_output(target, *redo, job, search.own);
    plan = redo->plan;
  } else if (auto done = finished_report(target, job, options.overwrite, search.own)) {
    return *done;
  }
  if (!calibration.remark.empty()) log(LogLevel::warning, calibration.remark);
  const double elapsed = seconds_since(start);
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const double measuring = plan.needs.calibration() ? measuring_forwards : measuring_rounding;
  const Forecast expected =
      forecast(checkpoint, plan, prepared.forecast_inputs(options, parent, measuring));
  const MemoryLimit limit = memory_limit(options, expected.memory);
  if (limit.spare == 0 && options.max_ram.empty())
    log(LogLevel::warning, "this job needs ", expected.memory.least() / 1'000'000,
        " MB of memory at least, which is more than is free now");
  const fs::path partial = start_partial(target, job, options.overwrite);
  const KeptBuffers kept(limit.kept);
  Pipeline pipeline(checkpoint, plan, options, hooks.progress, start, search.own,
                    earlier ? &*earlier : nullptr);
  const double planning = seconds_since(start) - elapsed;
  QuantizeReport report = pipeline.run(calibration, partial, out, limit);
  report.planned = in_short(expected, limit, elapsed);
  report.stages.insert(report.stages.begin(), {{"check", elapsed}, {"plan", planning}});
  drop_temporaries(partial);
  if (hooks.evaluate) hooks.evaluate(partial, report);
  Json written = report_json(report);
  written["job"] = job;
  write_file_atomically(partial / report_file, written.dump(2) + "\n");
  if (hooks.describe) hooks.describe(partial, report);
  publish(partial, target);
  return report;
}

}  // namespace quaver
