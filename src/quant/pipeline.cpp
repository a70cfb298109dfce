// Block by block: a block is loaded, observed, quantized, written and freed. Everything else of the
// checkpoint goes along byte for byte.
#include "quant/pipeline.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "core/file.h"
#include "core/host_memory.h"
#include "core/log.h"
#include "io/dialect.h"
#include "io/hf_directory.h"
#include "io/shard_writer.h"
#include "quant/head.h"
#include "quant/job.h"
#include "quant/staged.h"
#include "quant/work.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t rows_per_chunk = 2048;  // rows of one forward
constexpr std::int64_t most_chunks = 64;       // each has a thread

std::int64_t peak_resident() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

// Bytes of this process in memory now; 0 where the system does not tell.
std::int64_t resident() {
  std::int64_t total = 0, pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (!file) return 0;
  const int found = std::fscanf(file, "%" SCNd64 " %" SCNd64, &total, &pages);
  std::fclose(file);
  return found == 2 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Finds the linears of a loaded block by name.
class LinearFinder final : public Visitor {
 public:
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override { linears.emplace(name, &l); }
  std::map<std::string, Linear*> linears;
};

// Every block needs buffers of the same sizes: kept for the next one while a job runs, since asking
// the system for fresh pages took a fifth of its time.
class KeptBuffers {
 public:
  KeptBuffers() {
    const auto memory = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    set_host_buffer_cache(std::min(std::size_t{8} << 30, memory / 4));
  }
  ~KeptBuffers() { set_host_buffer_cache(default_host_buffer_cache); }
};

class Pipeline {
 public:
  Pipeline(const Checkpoint& checkpoint, const Plan& plan, const QuantizeOptions& options,
           const std::function<void(const QuantizeProgress&)>& progress, Clock::time_point start,
           std::span<const Arch* const> own_archs)
      : checkpoint_(checkpoint),
        own_archs_(own_archs),
        plan_(plan),
        options_(options),
        progress_(progress),
        start_(start) {
    for (const PlannedSite& site : plan.sites) {
      cost_total_ += cost_of(site.outputs, site.inputs);
      methods_[site.name] = site.method;
      auto& pass = passes_[site.method];
      if (!pass) pass = site.method->make(plan.method_options);
      exact_stream_ |= pass->wants_exact_stream();
    }
  }

  QuantizeReport run(const Calibration& calibration, const fs::path& partial,
                     const std::string& out) {
    Work work(partial);
    take_up(work);
    if (plan_.needs.hessian) begin_hidden(calibration, work);
    loop_start_ = Clock::now();
    for (int layer = work.first_layer(); layer < stages(); ++layer) quantize_layer(layer, work);
    chunks_.clear();
    work.wait();
    tell("write");
    ShardWriter writer(partial, plan_.shard_bytes);
    for (int layer = 0; layer < stages(); ++layer) write_layer(layer, work, writer);
    for (const TensorInfo& t : checkpoint_.source->tensors())
      if (!written_.contains(t.name)) copy(t.name, writer);
    writer.finish();
    write_config(partial);
    copy_side_files(checkpoint_.directory, partial);
    tell("verify");
    verify(partial);
    report_.out = out;
    report_.bits_per_weight = stored_bits_ / weights_;
    report_.seconds = seconds_since(start_);
    report_.peak_rss_bytes = peak_resident();
    return report_;
  }

 private:
  // Work of one linear, a token: its product and its share of the statistics.
  static double cost_of(std::int64_t outputs, std::int64_t inputs) {
    return static_cast<double>(inputs) * static_cast<double>(outputs + inputs);
  }

  void tell(const char* stage, const SiteReport* site = nullptr) {
    report_.memory.push_back({seconds_since(start_), resident()});
    if (!progress_) return;
    QuantizeProgress p{.stage = stage,
                       .module = site ? site->name : "",
                       .done = static_cast<int>(report_.modules.size()),
                       .total = static_cast<int>(plan_.sites.size()),
                       .error = site ? site->error : 0,
                       .elapsed = seconds_since(start_)};
    // Learned from what this run has done.
    if (const double fresh = cost_done_ - cost_known_; fresh > 0)
      p.left = seconds_since(loop_start_) * (cost_total_ - cost_done_) / fresh;
    progress_(p);
  }

  void embed(const Calibration& calibration) {
    tell("calibration");
    const auto ends = checkpoint_.arch->ends(checkpoint_.model);
    load(checkpoint_, *ends);
    std::int64_t total = 0;
    for (const auto& window : calibration.windows)
      total += static_cast<std::int64_t>(window.size());
    const std::int64_t rows = std::max(rows_per_chunk, total / most_chunks + 1);
    std::vector<std::int32_t> ids;
    CalibrationChunk chunk;
    const auto finish = [&] {
      if (ids.empty()) return;
      Step step = step_of(chunk.rows, 0);
      chunk.hidden =
          ends->embed(Tensor::of<std::int32_t>(ids, {static_cast<std::int64_t>(ids.size())}), step);
      if (exact_stream_) chunk.exact = chunk.hidden;
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
    if (work.first_layer() > 0)
      groups_ = work.remark().get<std::vector<std::vector<std::string>>>();
    for (const auto& group : groups_) endings_.insert(group.begin(), group.end());
    if (!work.reports().empty())
      log(LogLevel::info, "going on behind ", work.reports().size(), " of ", plan_.sites.size(),
          " modules, which an earlier run has quantized");
  }

  // The states that enter the first block to do: embedded, or as the earlier run left them.
  void begin_hidden(const Calibration& calibration, const Work& work) {
    if (work.first_layer() >= stages()) return;
    embed(calibration);
    if (work.first_layer() > 0) work.restore(chunks_);
  }

  // Blocks, and behind them the head where it is quantized.
  int stages() const {
    return static_cast<int>(checkpoint_.model.layers) + (plan_.has_head ? 1 : 0);
  }
  bool is_head(int layer) const { return layer == checkpoint_.model.layers; }
  std::string name_of(int layer) const {
    return is_head(layer) ? std::string() : text(checkpoint_.arch->blocks, '.', layer);
  }
  std::unique_ptr<Block> loaded(int layer) const {
    if (is_head(layer)) return load_head(checkpoint_);
    auto block = checkpoint_.arch->block(checkpoint_.model, layer);
    load(checkpoint_, name_of(layer), *block);
    return block;
  }
  // Whether the block's output enters another one, or a head that wants statistics of it.
  bool wants_output(int layer) const {
    if (layer + 1 < checkpoint_.model.layers) return true;
    return !is_head(layer) && plan_.has_head && plan_.head()->method->needs.hessian;
  }

  void quantize_layer(int layer, Work& work) {
    const std::string name = name_of(layer);
    const auto block = loaded(layer);
    LinearFinder finder;
    finder(name, *block);
    std::unique_ptr<Block> exact;
    LinearFinder exact_finder;
    if (exact_stream_) {
      exact = loaded(layer);
      exact_finder(name, *exact);
    }
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
    if (job.sites.empty() && !(job.needs.hessian && job.wants_output)) return;
    const StagedResult result = quantize_block(job, chunks_);
    if (is_head(layer)) return;
    for (const auto& group : result.groups) note_group(name, group);
    if (job.needs.hessian && job.wants_output) work.add_hidden(layer + 1, chunks_, groups_);
  }

  // A block as it stands in the output: its packed weights, then everything else of it.
  void write_layer(int layer, const Work& work, TensorSink& sink) {
    const std::string name = name_of(layer);
    std::set<std::string> sites;
    for (const PlannedSite& site : plan_.sites)
      if (site.layer == layer) sites.insert(site.name);
    for (const std::string& site : sites) write(site, work, sink);
    for (const TensorInfo& t : checkpoint_.source->tensors())
      if (!is_head(layer) && t.name.starts_with(name + ".") && !written_.contains(t.name))
        copy(t.name, sink);
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
                           .condition = site.condition};
    if (site.dead_columns > 0)
      log(LogLevel::detail, site.name, ": ", site.dead_columns, " inputs are always zero");
    if (!site.fallback.empty())
      log(LogLevel::warning, site.name, ": ", site.method, " instead: ", site.fallback);
    for (const PlannedSite& planned : plan_.sites)
      if (planned.name == site.name) {
        module.outputs = planned.outputs;
        module.inputs = planned.inputs;
        cost_done_ += cost_of(planned.outputs, planned.inputs);
        weights_ += static_cast<double>(planned.outputs) * static_cast<double>(planned.inputs);
      }
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

  void write(const std::string& site, const Work& work, TensorSink& sink) {
    for (const auto& [name, tensor] : work.tensors(site)) {
      sink.write(name, tensor);
      digests_[name] = work.digest_of(name);
      if (!name.ends_with(".g_idx")) stored_bits_ += 8.0 * static_cast<double>(tensor.bytes());
    }
    written_.insert(site + ".weight");
  }

  void copy(const std::string& name, TensorSink& sink) {
    sink.write(name, checkpoint_.source->read(name));
    written_.insert(name);
    copied_.push_back(name);
  }

  void write_config(const fs::path& partial) const {
    const auto grouped = [](const PlannedSite& site) { return site.scheme.group_size > 0; };
    const Dialect* dialect = find_dialect(Json{{"quant_method", "gptq"}});
    const Json description = dialect->describe(
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
    Json config = checkpoint_.config;
    config["quantization_config"] = description;
    if (plan_.has_head && checkpoint_.model.tied_head) untie_head(config);
    write_file_atomically(partial / "config.json", config.dump(2) + "\n");
    write_file_atomically(partial / "quantize_config.json", description.dump(2) + "\n");
    if (!checkpoint_.arch_file.empty())
      write_file_atomically(partial / arch_file_name, read_file(checkpoint_.arch_file, 1 << 20));
  }

  // Reads the output as any reader would, and compares it with what was meant.
  void verify(const fs::path& partial) const {
    // By the copy of the arch file, if there is one.
    const Checkpoint made = open_model(partial, {.own = own_archs_});
    for (const auto& [name, wanted] : digests_) {
      const Tensor t = made.source->read(name);
      if (digest({t.host(), t.bytes()}) != wanted)
        fail(Fault::io, partial.string(), ": tensor '", name,
             "' reads back different from what "
             "was written");
    }
    for (const std::string& name : copied_) {
      const Tensor a = checkpoint_.source->read(name), b = made.source->read(name);
      if (a.dtype() != b.dtype() || a.shape() != b.shape() ||
          std::memcmp(a.host(), b.host(), a.bytes()) != 0)
        fail(Fault::io, partial.string(), ": tensor '", name, "' differs from the source's");
    }
  }

  const Checkpoint& checkpoint_;
  const std::span<const Arch* const> own_archs_;
  const Plan& plan_;
  const QuantizeOptions& options_;
  const std::function<void(const QuantizeProgress&)>& progress_;
  const Clock::time_point start_;
  std::map<const Method*, std::unique_ptr<BlockPass>> passes_;
  std::map<std::string, const Method*> methods_;  // by site
  bool exact_stream_ = false;
  std::vector<CalibrationChunk> chunks_;
  QuantizeReport report_;
  std::set<std::string> written_, endings_;
  std::vector<std::string> copied_;
  std::vector<std::vector<std::string>> groups_;
  std::map<std::string, std::uint64_t> digests_;
  double cost_done_ = 0, cost_known_ = 0, cost_total_ = 0, stored_bits_ = 0, weights_ = 0;
  Clock::time_point loop_start_;
};

}  // namespace

QuantizeReport quantize_checkpoint(const std::string& model, const std::string& out,
                                   const QuantizeOptions& options, const QuantizeHooks& hooks,
                                   const ArchSearch& search) {
  const auto start = Clock::now();
  ensure(!out.empty(), "OUT is empty; expected the directory to write");
  fs::path target = fs::path(out).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  const Checkpoint checkpoint = open_model(model, search);
  const Plan plan = make_plan(checkpoint, options);
  std::error_code ignored;
  const fs::path source = fs::weakly_canonical(model, ignored);
  const fs::path goal = fs::weakly_canonical(target, ignored);
  const auto [end, unused] = std::mismatch(goal.begin(), goal.end(), source.begin(), source.end());
  ensure(end != goal.end(), "OUT is the model's own directory, or one around it: ", out);
  const std::uint64_t weights = checked_weights(checkpoint);
  Calibration calibration;
  if (plan.needs.hessian) calibration = read_calibration(options, model, checkpoint.model);
  const Json job = describe_job(checkpoint, weights, options, calibration);
  if (auto done = finished_report(target, job, options.overwrite, search.own)) return *done;
  if (!calibration.remark.empty()) log(LogLevel::warning, calibration.remark);
  const fs::path partial = start_partial(target, job, options.overwrite);
  const KeptBuffers kept;
  Pipeline pipeline(checkpoint, plan, options, hooks.progress, start, search.own);
  QuantizeReport report = pipeline.run(calibration, partial, out);
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
