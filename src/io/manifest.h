#pragma once
// quaver-manifest.json: the size and SHA-256 of every file that went into a checkpoint and of every
// file that came out.
//   {"version": 1, "quaver": "0.1.0",
//    "inputs":  {"model.safetensors": {"bytes": 123, "sha256": "<64 hexadecimal digits>"}, ...},
//    "outputs": {...}}
// File names are relative: outputs to the manifest's own directory, inputs to the model's. The
// manifest does not list itself.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

class Sha256 {  // FIPS 180-4, by OpenSSL's libcrypto
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const std::byte> bytes);
  std::string hex();  // 64 digits, lower case; once, at the end

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct FileHash {
  std::uint64_t bytes = 0;
  std::string sha256;
  bool operator==(const FileHash&) const = default;
};

// Reads a regular file in pieces. Throws Error.
FileHash hash_file(const std::filesystem::path& file);

struct Manifest {
  std::string quaver;  // version of the program
  std::map<std::string, FileHash> inputs, outputs;
  bool operator==(const Manifest&) const = default;
};

inline constexpr std::string_view manifest_file = "quaver-manifest.json";

std::string manifest_json(const Manifest& manifest);
// The inverse. Throws Error(bad_file) that begins with `where` on anything that is not the format;
// on names that are absolute or leave their directory too.
Manifest parse_manifest(std::string_view json, std::string_view where);
Manifest read_manifest(const std::filesystem::path& directory);

// Appears whole or not at all; synced.
void write_manifest(const std::filesystem::path& directory, const Manifest& manifest);

struct HashProblem {
  std::string file, found, expected;
};
// What differs from `listed` among the files of `directory`: those that are missing, of another
// size, of another hash.
std::vector<HashProblem> check_hashes(const std::map<std::string, FileHash>& listed,
                                      const std::filesystem::path& directory);

}  // namespace quaver
