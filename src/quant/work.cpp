#include "quant/work.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/log.h"
#include "quant/job.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t most_journal_bytes = std::uint64_t{1} << 30;
constexpr std::uint64_t one_file = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t digest_digits = 16;
// How long what was solved may wait for the disk: syncing each of many small linears would take
// longer than solving them.
constexpr std::chrono::seconds most_unsynced_time{1};

std::string hex(std::uint64_t value) {
  char digits[digest_digits + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

std::optional<std::uint64_t> from_hex(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  const bool whole = error == std::errc() && end == digits.data() + digits.size() &&
                     digits.size() == digest_digits;
  return whole ? std::optional(value) : std::nullopt;
}

std::uint64_t digest_of_text(std::string_view s, std::uint64_t seed) {
  return digest(std::as_bytes(std::span(s)), seed);
}

std::uint64_t digest_of_tensor(const Tensor& t) { return digest({t.host(), t.bytes()}); }

std::string chunk_name(const char* stream, std::size_t i) {
  char name[32];
  std::snprintf(name, sizeof name, "%s.%06zu", stream, i);
  return name;
}

Json report_json(const SiteReport& r) {
  return {{"name", r.name},
          {"method", r.method},
          {"bits", r.scheme.bits},
          {"group_size", r.scheme.group_size},
          {"sym", r.scheme.symmetric},
          {"error", r.error},
          {"damp", r.damp},
          {"fallback", r.fallback},
          {"dead_columns", r.dead_columns},
          {"rows", r.rows},
          {"pooled", r.pooled},
          {"condition", r.condition},
          {"seconds", r.seconds}};
}

SiteReport read_report(const Json& j, const std::string& where) {
  SiteReport r{.name = json_string(j, "name", where), .method = json_string(j, "method", where)};
  r.scheme = {.bits = static_cast<int>(json_int(j, "bits", where)),
              .group_size = json_int(j, "group_size", where),
              .symmetric = json_bool(j, "sym", where, true)};
  r.error = json_number(j, "error", where, 0);
  r.damp = json_number(j, "damp", where, 0);
  r.fallback = json_string(j, "fallback", where, "");
  r.dead_columns = json_int(j, "dead_columns", where, 0);
  r.rows = json_int(j, "rows", where, 0);
  r.pooled = json_number(j, "pooled", where, 0);
  r.condition = json_number(j, "condition", where, 0);
  r.seconds = json_number(j, "seconds", where, 0);
  return r;
}

// An empty directory, whatever a killed run left there.
void make_afresh(const fs::path& directory) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (!error) fs::create_directories(directory, error);
  if (error) fail(Fault::io, directory.string(), ": ", error.message());
}

}  // namespace

Work::Work(const fs::path& partial, PlacedShards& shards)
    : folder_(partial / "work"), shards_(shards) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail(Fault::io, folder_.string(), ": ", error.message());
  read_journal();
  forget_damaged();
}

Work::~Work() {
  try {
    wait();
  } catch (const std::exception& failure) {  // whoever unwinds has an error of its own to tell
    log(LogLevel::detail, failure.what());
  }
}

void Work::read_journal() {
  const fs::path path = folder_ / "journal";
  journal_ = FileHandle(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!journal_) fail(Fault::io, path.string(), ": cannot open: ", std::strerror(errno));
  sync_directory(folder_);
  const std::string all = read_file(path, most_journal_bytes);
  std::size_t good = 0;
  for (std::size_t end; (end = all.find('\n', good)) != std::string::npos; good = end + 1) {
    const std::string_view line(all.data() + good, end - good);
    const std::size_t tab = line.rfind('\t');
    if (tab == std::string_view::npos) break;
    const std::uint64_t chain = digest_of_text(line.substr(0, tab), chain_);
    if (from_hex(line.substr(tab + 1)) != chain) break;
    take(parse_json(line.substr(0, tab), path.string()));
    chain_ = chain;
  }
  if (good == all.size()) return;
  log(LogLevel::detail, path.string(), ": ", all.size() - good, " bytes of a torn record dropped");
  if (::ftruncate(journal_.get(), static_cast<off_t>(good)) != 0)
    fail(Fault::io, path.string(), ": cannot truncate: ", std::strerror(errno));
}

void Work::take(const Json& record) {
  const std::string where = (folder_ / "journal").string();
  if (record.contains("hidden")) {
    first_layer_ = static_cast<int>(json_int(record, "layer", where));
    hidden_ = json_string(record, "hidden", where);
    remark_ = record.value("remark", Json());
  } else {
    take_site(record);
    return;
  }
  for (const auto& [name, value] : record.at("tensors").items())
    digests_[text(hidden_, '/', name)] = from_hex(value.get<std::string>()).value_or(0);
}

void Work::take_site(const Json& record) {
  const std::string where = (folder_ / "journal").string();
  SiteReport report = read_report(record.at("module"), where);
  Stored& stored = sites_[report.name];
  stored = {.layer = static_cast<int>(json_int(record, "layer", where)), .tensors = {}};
  std::erase_if(reports_, [&](const SiteReport& r) { return r.name == report.name; });
  reports_.push_back(std::move(report));
  for (const auto& [name, value] : record.at("tensors").items()) {
    digests_[name] = from_hex(value.get<std::string>()).value_or(0);
    stored.tensors.push_back(name);
  }
}

// What the disk does not hold any more as the journal says is done again. The states between
// blocks are those of whole blocks, so without a weight of an earlier one they are of no use.
void Work::forget_damaged() {
  const auto intact = [](const auto& read) {
    try {
      read();
      return true;
    } catch (const Error& error) {
      if (error.fault != Fault::bad_file && error.fault != Fault::io) throw;
      log(LogLevel::warning, error.what(), "; it is made again");
      return false;
    }
  };
  std::vector<std::string> damaged;
  bool states = !hidden_.empty() && intact([this] {
    for (const auto& [name, value] : digests_)
      if (name.starts_with(hidden_ + "/")) state(name.substr(hidden_.size() + 1));
  });
  for (const auto& site : sites_) {
    if (intact([&] {
          for (const std::string& name : site.second.tensors) part(name);
        }))
      continue;
    damaged.push_back(site.first);
    states = states && site.second.layer >= first_layer_;
  }
  for (const std::string& name : damaged) {
    std::erase_if(reports_, [&](const SiteReport& r) { return r.name == name; });
    sites_.erase(name);
  }
  if (!states) first_layer_ = 0;
}

void Work::append(const Json& record) {
  const std::string line = record.dump();
  chain_ = digest_of_text(line, chain_);
  const std::string whole = text(line, '\t', hex(chain_), '\n');
  write_all(journal_.get(), std::as_bytes(std::span(whole)), folder_ / "journal");
}

void Work::sync() {
  shards_.sync();
  sync_directory(folder_);
  if (::fsync(journal_.get()) != 0)
    fail(Fault::io, (folder_ / "journal").string(), ": cannot sync: ", std::strerror(errno));
  synced_ = std::chrono::steady_clock::now();
}

void Work::add(int layer, const Site& site, const SiteReport& report) {
  Json record{{"layer", layer}, {"tensors", Json::object()}, {"module", report_json(report)}};
  for (const auto& [part, tensor] : std::get<Packed>(site.linear->weight).parts) {
    const std::string name = text(site.name, '.', part);
    shards_.write(name, tensor);
    record["tensors"][name] = hex(digest_of_tensor(tensor));
  }
  {
    const std::lock_guard lock(mutex_);
    append(record);
    if (std::chrono::steady_clock::now() - synced_ > most_unsynced_time) sync();
  }
  take_site(record);
}

void Work::add_hidden(int layer, const std::vector<CalibrationChunk>& chunks, Json remark) {
  wait();
  auto states = std::make_shared<HiddenStates>();
  states->name = text("hidden-", layer);
  states->record = {{"layer", layer},
                    {"hidden", states->name},
                    {"remark", std::move(remark)},
                    {"tensors", Json::object()}};
  states->chunks = chunks;
  // What may lie in files is needed there again by the next block.
  const bool may_spill = !chunks.empty() && chunks.front().memory;
  if (may_spill) write_states(*states);
  writing_ = std::async(std::launch::async, [this, states, may_spill] {
    if (!may_spill) write_states(*states);
    finish_states(*states);
  });
}

void Work::write_states(HiddenStates& states) {
  make_afresh(folder_ / states.name);
  states.writer = std::make_unique<ShardWriter>(folder_ / states.name, one_file);
  for (std::size_t i = 0; i < states.chunks.size(); ++i) {
    CalibrationChunk& chunk = states.chunks[i];
    chunk.enter();
    const auto add = [&](const char* stream, Tensor& tensor) {
      if (!tensor) return;
      const std::string key = chunk_name(stream, i);
      states.writer->write(key, tensor);
      states.record["tensors"][key] = hex(digest_of_tensor(tensor));
      tensor = {};  // the caller may be done with it
    };
    add("chunk", chunk.hidden);
    add("exact", chunk.exact);
    chunk.leave();
  }
}

void Work::finish_states(HiddenStates& states) {
  states.writer->finish();
  sync_directory(folder_ / states.name);
  {
    const std::lock_guard lock(mutex_);
    append(states.record);
    sync();
  }
  std::error_code ignored;
  if (!hidden_.empty() && hidden_ != states.name) fs::remove_all(folder_ / hidden_, ignored);
  hidden_ = states.name;
}

void Work::wait() {
  if (writing_.valid()) writing_.get();
}

Tensor Work::state(const std::string& name) const {
  const fs::path file = folder_ / hidden_ / "model.safetensors";
  if (!states_) states_ = open_safetensors(file);
  const Tensor tensor = states_->read(name);
  const auto known = digests_.find(text(hidden_, '/', name));
  ensure_file(known != digests_.end() && digest_of_tensor(tensor) == known->second, file.string(),
              ": tensor '", name, "' is not what the journal says");
  return tensor;
}

Tensor Work::part(const std::string& name) const {
  const auto known = digests_.find(name);
  ensure_file(known != digests_.end() && shards_.has(name), folder_.string(), ": tensor '", name,
              "' is not of this job");
  const Tensor tensor = shards_.read(name);
  ensure_file(digest_of_tensor(tensor) == known->second, shards_.file_of(name).string(),
              ": tensor '", name, "' is not what the journal says");
  return tensor;
}

Packed Work::packed(const std::string& site, const Linear& linear, const Scheme& scheme,
                    const Format& format) const {
  Packed packed{.format = &format, .scheme = scheme, .rows = linear.outputs, .cols = linear.inputs};
  for (const PartInfo& info : format.parts(scheme, linear.outputs, linear.inputs))
    packed.parts.emplace(info.name, part(text(site, '.', info.name)));
  return packed;
}

void Work::restore(std::vector<CalibrationChunk>& chunks) const {
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    std::int64_t rows = 0;
    for (const std::int64_t count : chunks[i].rows) rows += count;
    const auto take = [&](const char* stream, Tensor& to) {
      const std::string name = chunk_name(stream, i);
      to = state(name);
      ensure_file(to.shape().rank() == 2 && to.dim(0) == rows, (folder_ / hidden_).string(), ": ",
                  name, " is ", to.shape(), ", expected ", rows, " rows");
    };
    take("chunk", chunks[i].hidden);
    if (chunks[i].exact) take("exact", chunks[i].exact);
  }
  states_.reset();
}

}  // namespace quaver
