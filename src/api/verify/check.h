#pragma once
// What `verify` consists of: a directory read once, with as much as can be read of a broken one,
// and checks that look at it. A check is one row of the table in all.cpp.
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/verify.h"
#include "core/json.h"
#include "io/checkpoint.h"
#include "io/dialect.h"

namespace quaver::verify {

enum class Severity : std::uint8_t {
  error,    // no reader can use it, or some read other weights than are meant without saying so
  warning,  // some readers refuse it, or it is not what its writer is likely to have meant
  note      // worth knowing
};
std::string_view name_of(Severity severity);

struct Finding {
  Severity severity = Severity::error;
  std::string subject;   // a file, a tensor, a key
  std::string problem;   // what is wrong
  std::string expected;  // may be empty
  std::string readers;   // whom it affects; empty: all
};

// Findings of one check with the same problem are one entry that counts its subjects.
class Findings {
 public:
  struct Entry {
    Finding first;
    std::string_view check;
    std::int64_t more = 0;
  };
  void begin(std::string_view check) { check_ = check; }
  // `kind` tells problems apart; empty: the problem's own words.
  void add(Finding finding, std::string_view kind = {});
  std::vector<Entry> sorted() const;  // errors first, else in order
  std::int64_t count(Severity severity) const;

 private:
  std::string_view check_;
  std::vector<Entry> entries_;
  std::map<std::string, std::size_t> places_;
};

struct WeightFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::unique_ptr<TensorSource> source;
  std::map<std::string, std::string> metadata;  // of safetensors
};

struct Place {
  const TensorInfo* info = nullptr;
  const TensorSource* source = nullptr;
};

// The tensors of a GPTQ linear as they stand in the file; null where absent.
struct PackedModule {
  std::string name;
  const TensorInfo *qweight = nullptr, *qzeros = nullptr, *scales = nullptr, *g_idx = nullptr;
  std::optional<Scheme> scheme;  // what the configuration says of it; none: it leaves it out
  std::int64_t outputs = 0, inputs = 0;
  std::vector<Finding> misfits;  // of shapes and types; empty: the parts can be read
  bool sound() const { return scheme && misfits.empty(); }
};

struct LinearSize {
  std::int64_t outputs = 0, inputs = 0;
  bool head = false;   // outside the blocks
  bool plain = false;  // never quantized: a router
};

struct Subject {
  std::filesystem::path directory;
  VerifyOptions options;
  std::vector<std::string> names;  // of the directory
  Json config;                     // config.json; null: it cannot be read
  Json beside;                     // quantize_config.json; null: it is absent
  Json quantization;               // what readers go by; null: dense
  const Dialect* dialect = nullptr;
  const Format* format = nullptr;
  bool encoded = false;  // plain weights in an encoding (io/encoding.h)
  WeightNames weights;
  std::vector<WeightFile> files;
  std::map<std::string, Place, std::less<>> tensors;
  std::vector<PackedModule> packed;
  // Of the model family; empty if it is not known.
  std::string family, blocks;
  std::map<std::string, LinearSize> linears;
  bool tied_head = false;
  std::vector<Finding> troubles;  // what could not be read

  const TensorInfo* find(std::string_view name) const;
  Tensor read(std::string_view name) const;
  Packed weight(const PackedModule& module) const;  // of a sound one
};

// Never throws for what is in the directory.
Subject examine(const std::filesystem::path& directory, const VerifyOptions& options);

// Whether some part of a module's name, between dots, is this one.
bool is_last_name(std::string_view module, std::string_view name);

struct Check {
  std::string_view name;
  std::string_view summary;  // one line for people
  void (*run)(const Subject& subject, Findings& findings);
};
std::span<const Check* const> checks();

// How the packed linears can be split over 2, 4 and 8 ranks: Json of api/verify.h.
Json tensor_parallel(const Subject& subject);

}  // namespace quaver::verify
