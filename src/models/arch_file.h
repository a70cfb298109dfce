#pragma once
// A family that a small JSON file describes: a known one under other names
// (docs/your-own-model.md). What AutoGPTQ's "Customize Model" writes as a Python class is data
// here.
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/arch.h"

namespace quaver {

// Module names of the base family and those that stand for them; whole parts of dotted names. The
// longest match counts, what follows it stays.
class NameMap {
 public:
  void set(std::string from, std::string to, std::string_view where);
  std::string operator()(const std::string& name) const;
  // A name of the map that none of `names` begins with; empty: all are used.
  std::string unused(const std::vector<std::string>& names) const;

 private:
  std::map<std::string, std::string> names_;
};

class ArchFile {
 public:
  // Throws Error that names the file, the key, what was found and what was expected. The base is
  // searched among `own`, then in the built-in table.
  static std::shared_ptr<const ArchFile> read(const std::filesystem::path& path,
                                              std::span<const Arch* const> own);

  // Whether it stands for this config.json: it says no architecture, or names this one.
  bool describes(const Json& config_json) const;
  // The base's reading of config.json, with its keys renamed. `self` keeps the file alive.
  static Config config(std::shared_ptr<const ArchFile> self, const Json& config_json);
  // Refuses names and modules in the file that a model of this config does not have.
  void check(const Config& config) const;

  const Arch& row() const { return row_; }
  const Arch& base() const { return *base_; }
  const NameMap& inside() const { return inside_; }
  const NameMap& outside() const { return outside_; }
  // Whether this linear of a block, under its own name, may be quantized.
  bool quantizes(const std::string& own_name) const;

 private:
  std::string where_, name_, type_, blocks_;
  const Arch* base_ = nullptr;
  Arch row_;
  std::map<std::string, std::string> keys_;  // of config.json: the base's, and the model's own
  Json values_;                              // keys that the base needs and config.json lacks
  NameMap inside_, outside_;
  std::vector<std::string> inside_modules_, outside_modules_;
};

// What is searched before the built-in table.
struct ArchSearch {
  std::span<const Arch* const> own;  // a program's own rows, which outlive what is loaded
  std::filesystem::path file;        // empty: none
};

struct FoundArch {
  const Arch* arch = nullptr;
  Config config;
};
// The family of a config.json and its reading: the file's where it describes it, else an own row,
// else a built-in one.
FoundArch find_model(const Json& config_json, const ArchSearch& search);

// What a checkpoint directory may hold: the arch file that describes it.
inline constexpr const char* arch_file_name = "quaver_arch.json";

}  // namespace quaver
