#pragma once
// What a job has done so far, kept so that the same command goes on after a kill -9 at any instant.
//
//   OUT.partial/job.json        what the job is; another job's work is refused
//   OUT.partial/work/journal    one line a record: JSON, a tab, 16 hex digits of the digest of all
//                               up to here, a line end. Only appended to; a line counts when it is
//                               whole, and nothing behind one that is not
//   OUT.partial/*.safetensors   the output's own files, where each packed weight is written to its
//                               place when it is solved
//   OUT.partial/work/hidden-i   the hidden states that enter block i
//
// What a record names is whole before the record is written, so that a kill never makes one wrong;
// what no record names is left from a kill and is written again. Files and records reach the
// disk at least every second, and with each block's hidden states: a machine that loses power may
// lose what was solved since, or keep a record without its file, which the digests then tell.
#include <chrono>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "io/checkpoint.h"
#include "io/placed_shards.h"
#include "io/shard_writer.h"
#include "quant/pass.h"
#include "quant/staged.h"

namespace quaver {

class Work {
 public:
  // The work in `partial`, which belongs to this job, as do the `shards` there; begins it where
  // there is none.
  Work(const std::filesystem::path& partial, PlacedShards& shards);
  ~Work();
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // The first block whose input is not known to be needed again: all before it are whole.
  int first_layer() const { return first_layer_; }
  // The hidden states that enter first_layer() > 0, into chunks whose `rows` are known.
  void restore(std::vector<CalibrationChunk>& chunks) const;

  bool has(const std::string& site) const { return sites_.contains(site); }
  // A site that was solved, views of the shards. Throws Error(bad_file) where they are damaged.
  Packed packed(const std::string& site, const Linear& linear, const Scheme& scheme,
                const Format& format) const;
  std::uint64_t digest_of(const std::string& tensor) const { return digests_.at(tensor); }
  // Reports of all sites in the order in which they were solved.
  const std::vector<SiteReport>& reports() const { return reports_; }

  // A site that was solved, its weight Packed. A kill does not lose it when it returns.
  void add(int layer, const Site& site, const SiteReport& report);
  // The hidden states that enter block `layer`, written while the caller goes on; the chunks share
  // their tensors with it. Throws what the last such writing threw.
  void add_hidden(int layer, const std::vector<CalibrationChunk>& chunks, Json remark);
  // What add_hidden's caller wished to know again with first_layer(); null at first.
  const Json& remark() const { return remark_; }
  void wait();  // until what add_hidden began is durable

 private:
  struct HiddenStates {  // on their way to the disk
    std::string name;
    Json record;
    std::vector<CalibrationChunk> chunks;
    std::unique_ptr<ShardWriter> writer;
  };
  struct Stored {
    int layer = 0;
    std::vector<std::string> tensors;  // "SITE.qweight" and so on
  };

  void read_journal();
  void take(const Json& record);
  void take_site(const Json& record);
  void forget_damaged();
  void append(const Json& record);  // the journal's mutex is held
  void sync();                      // the same
  void write_states(HiddenStates& states);
  void finish_states(HiddenStates& states);
  Tensor state(const std::string& name) const;
  Tensor part(const std::string& name) const;

  std::filesystem::path folder_;
  PlacedShards& shards_;
  mutable std::mutex mutex_;  // of the journal
  FileHandle journal_;
  std::chrono::steady_clock::time_point synced_ = std::chrono::steady_clock::now();
  std::uint64_t chain_ = 0;  // digest of the journal so far
  int first_layer_ = 0;
  Json remark_;
  std::string hidden_;  // directory of the newest hidden states
  std::map<std::string, Stored> sites_;
  std::map<std::string, std::uint64_t> digests_;
  std::vector<SiteReport> reports_;
  mutable std::unique_ptr<TensorSource> states_;  // of hidden_
  std::future<void> writing_;
};

}  // namespace quaver
