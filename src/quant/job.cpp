#include "quant/job.h"

#include <algorithm>
#include <cstring>

#include "core/file.h"
#include "core/log.h"
#include "core/options.h"
#include "io/shard_layout.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr const char* job_file = "job.json";

std::uint64_t digest_of(std::string_view s) { return digest(std::as_bytes(std::span(s))); }

// Null if there is no such file, or none that can be understood.
Json json_if_readable(const fs::path& file) {
  if (!fs::is_regular_file(file)) return {};
  try {
    return read_json_file(file.string());
  } catch (const Error&) {
    return {};
  }
}

constexpr const char* replaced = "replaced";  // in OUT.partial: the output whose place it takes

// Empties OUT.partial, but for the work of this very job.
void drop(const fs::path& partial, bool keep_work) {
  for (const std::string& name : names_in(partial))
    if (name != replaced &&
        (!keep_work || (name != job_file && name != "work" && !is_shard_name(name))))
      fs::remove_all(partial / name);
}

// What a published output needs no more, and a kill may have left there.
void drop_work(const fs::path& out) {
  for (const char* name : {"work", job_file, replaced}) {
    std::error_code error;
    fs::remove_all(out / name, error);
    if (error)
      log(LogLevel::warning, (out / name).string(),
          " is not needed and cannot be removed: ", error.message());
  }
}

// Whether a kill came before the job was written down: nothing is there but what that writes.
bool is_hardly_begun(const fs::path& partial) {
  if (!fs::is_directory(fs::symlink_status(partial))) return false;
  return std::ranges::all_of(names_in(partial), [](const std::string& name) {
    return name.starts_with(text(job_file, ".tmp-"));
  });
}

fs::path partial_of(const fs::path& out) { return out.string() + ".partial"; }

}  // namespace

std::uint64_t digest(std::span<const std::byte> bytes, std::uint64_t seed) {
  std::uint64_t h = seed ^ (bytes.size() * 0x9e3779b97f4a7c15u);
  const auto mix = [&h](std::uint64_t word) {
    h = (h ^ word) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
  };
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    mix(word);
  }
  std::uint64_t tail = 0;
  if (i < bytes.size()) std::memcpy(&tail, bytes.data() + i, bytes.size() - i);
  mix(tail);
  return h;
}

std::string difference_of_jobs(const Json& there, const Json& here) {
  if (!there.is_object()) return {};
  const Json redone = there.value("redo", Json()), redo = here.value("redo", Json());
  const auto shown = [](const Json& list) {
    return list.is_null() ? std::string("no --redo") : text("--redo ", list.dump());
  };
  const Json flat_there = there.flatten(), flat_here = here.flatten();
  for (const auto& [key, value] : flat_here.items()) {
    std::string name = key.substr(1);
    std::ranges::replace(name, '/', '.');
    if (name.starts_with("redo")) continue;
    if (!flat_there.contains(key)) return text(": ", name, " is not known there");
    if (flat_there[key] == value) continue;
    if (name.starts_with("model.")) return ": of another model";
    if (name == "calibration") return ": of another calibration text";
    return text(": ", name, " is ", flat_there[key].dump(), " there, ", value.dump(), " here");
  }
  return redone == redo ? std::string()
                        : text(": ", shown(redone), " there, ", shown(redo), " here");
}

fs::path earlier_output(const fs::path& out) {
  for (const fs::path& place : {out, partial_of(out) / replaced})
    if (fs::is_regular_file(place / report_file)) return place;
  return {};
}

Json describe_job(const Checkpoint& checkpoint, std::uint64_t weights,
                  const QuantizeOptions& options, const Calibration& calibration) {
  QuantizeOptions copy = options;
  Json chosen = to_json(options_of(copy));
  // These change where and whether, not what.
  for (const char* key : {"redo", "set", "overwrite", "strict", "calibration", "text_field",
                          "max_ram", "evaluate", "base_model"})
    chosen.erase(key);
  std::string tensors;
  for (const TensorInfo& t : checkpoint.source->tensors())
    tensors += text(t.name, ' ', t.dtype, ' ', t.shape, '\n');
  std::uint64_t ids = 0;
  for (const auto& window : calibration.windows)
    ids = digest(std::as_bytes(std::span(window)), ids);
  // Only where there is one, so that jobs of other models stay what they were.
  if (!checkpoint.arch_file.empty()) tensors += read_file(checkpoint.arch_file, 1 << 20);
  return {{"quaver", QUAVER_VERSION},
          {"options", chosen},
          {"model",
           {{"config", digest_of(checkpoint.config.dump())},
            {"tensors", digest_of(tensors)},
            {"weights", weights}}},
          {"calibration", ids}};
}

std::optional<QuantizeReport> finished_report(const fs::path& out, const Json& job, bool overwrite,
                                              std::span<const Arch* const> own_archs) {
  if (!fs::exists(fs::symlink_status(out))) return std::nullopt;
  const Json found = json_if_readable(out / report_file);
  const bool same = found.is_object() && found.contains("job") && found["job"] == job;
  // Only what quaver made may be replaced: OUT could be anybody's directory.
  const bool ours = fs::is_directory(fs::symlink_status(out)) &&
                    (fs::is_empty(out) || fs::is_regular_file(out / report_file));
  ensure(!overwrite || ours, out.string(),
         " is not an output of quaver: --overwrite does not replace it");
  ensure(overwrite || same, out.string(), " exists and is not this job's output",
         found.is_object() ? difference_of_jobs(found.value("job", Json()), job) : std::string(),
         "; --overwrite replaces it, or choose another OUT");
  if (!same) return std::nullopt;
  try {
    open_model(out, {.own = own_archs});  // throws if it is not whole any more
    drop_work(out);
    QuantizeReport report = read_report_json(found, out.string());
    report.out = out.string();
    report.already_done = true;
    return report;
  } catch (const Error&) {
    if (!overwrite) throw;
  }
  return std::nullopt;
}

std::optional<QuantizeReport> redone_report(const fs::path& out, const Json& job, const Json& redo,
                                            std::span<const Arch* const> own_archs) {
  const Json found = json_if_readable(out / report_file);
  const Json made_by = found.is_object() ? found.value("job", Json()) : Json();
  const Json redone = made_by.is_object() ? made_by.value("redo", Json()) : Json();
  if (!redone.is_array() || redone.empty() || redone.back() != redo) return std::nullopt;
  Json changed = job;
  changed["redo"] = redone;
  return changed == made_by ? finished_report(out, changed, false, own_archs) : std::nullopt;
}

fs::path start_partial(const fs::path& out, const Json& job, bool overwrite) {
  const fs::path partial = partial_of(out);
  if (fs::exists(fs::symlink_status(partial))) {
    const Json there = json_if_readable(partial / job_file);
    ensure(there == job || overwrite || is_hardly_begun(partial), partial.string(),
           " holds the unfinished work of another job", difference_of_jobs(there, job),
           "; run that one again, or drop it with --overwrite");
    drop(partial, there == job);
  }
  std::error_code error;
  fs::create_directories(partial, error);
  if (error) fail(Fault::io, partial.string(), ": ", error.message());
  write_file_atomically(partial / job_file, job.dump(2) + "\n");
  return partial;
}

bool is_working_name(const std::string& name) {
  return name == "work" || name == job_file || name == replaced;
}

void drop_temporaries(const fs::path& partial) {
  for (const std::string& name : names_in(partial)) {
    std::error_code error;
    if (name.find(".tmp-") != std::string::npos) fs::remove(partial / name, error);
    if (error) fail(Fault::io, (partial / name).string(), ": cannot remove: ", error.message());
  }
}

void publish(const fs::path& partial, const fs::path& out) {
  std::error_code error;
  // What finished_report let pass is an earlier output. It moves with the new one into its place,
  // and goes only then.
  if (fs::exists(fs::symlink_status(out))) {
    fs::remove_all(partial / replaced, error);
    if (!error) fs::rename(out, partial / replaced, error);
  }
  if (!error) fs::rename(partial, out, error);
  if (error) fail(Fault::io, out.string(), ": ", error.message());
  const fs::path parent = out.has_parent_path() ? out.parent_path() : fs::path(".");
  sync_directory(parent);
  drop_work(out);
}

}  // namespace quaver
