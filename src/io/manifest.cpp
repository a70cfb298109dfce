#include "io/manifest.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t piece_bytes = std::size_t{1} << 20;
constexpr JsonLimits manifest_limits{.bytes = 64'000'000, .depth = 8};
constexpr std::size_t digest_digits = 64;

bool is_hash(std::string_view s) {
  return s.size() == digest_digits && std::ranges::all_of(s, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// A plain relative name: nothing that leaves the directory it is looked up in.
bool stays_inside(const std::string& name) {
  const fs::path path(name);
  if (name.empty() || name.find('\0') != std::string::npos || path.is_absolute()) return false;
  return std::ranges::none_of(path, [](const fs::path& part) { return part == ".."; });
}

std::map<std::string, FileHash> read_hashes(const Json& root, const char* key,
                                            std::string_view where) {
  const auto list = root.find(key);
  ensure_file(list != root.end() && list->is_object(), where, ": '", key,
              "' is missing or not an object");
  std::map<std::string, FileHash> hashes;
  for (const auto& [name, entry] : list->items()) {
    ensure_file(stays_inside(name), where, ": '", key, "' names ", printable(name),
                ", expected a file name relative to the directory");
    const std::string at = text(where, ": '", key, "', ", printable(name));
    ensure_file(entry.is_object(), at, ": expected an object, found ", entry.type_name());
    const std::int64_t bytes = json_int(entry, "bytes", at);
    std::string sha256 = json_string(entry, "sha256", at);
    ensure_file(bytes >= 0, at, ": 'bytes' is ", bytes);
    ensure_file(is_hash(sha256), at, ": 'sha256' is ", printable(sha256), ", expected ",
                digest_digits, " hexadecimal digits in lower case");
    hashes.emplace(name, FileHash{static_cast<std::uint64_t>(bytes), std::move(sha256)});
  }
  return hashes;
}

Json hashes_json(const std::map<std::string, FileHash>& hashes) {
  Json list = Json::object();
  for (const auto& [name, hash] : hashes)
    list[name] = {{"bytes", hash.bytes}, {"sha256", hash.sha256}};
  return list;
}

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context || EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1)
    fail(Fault::resource, "[sha256] libcrypto cannot begin a hash");
}
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1)
    fail(Fault::internal, "[sha256] libcrypto refused ", bytes.size(), " bytes");
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(state_->context, digest.data(), &size) != 1)
    fail(Fault::internal, "[sha256] libcrypto cannot end a hash");
  std::string digits;
  for (unsigned i = 0; i < size; ++i) {
    digits += "0123456789abcdef"[digest[i] >> 4];
    digits += "0123456789abcdef"[digest[i] & 15];
  }
  return digits;
}

FileHash hash_file(const fs::path& file) {
  FileHash hash;
  std::uint64_t size = 0;
  const FileHandle handle = open_regular_file(file, size);
  Sha256 sha;
  std::vector<std::byte> piece(piece_bytes);
  for (;;) {
    const ssize_t n = ::read(handle.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(Fault::io, file.string(), ": cannot read: ", std::strerror(errno));
    if (n == 0) break;
    sha.update(std::span(piece).first(static_cast<std::size_t>(n)));
    hash.bytes += static_cast<std::uint64_t>(n);
  }
  hash.sha256 = sha.hex();
  return hash;
}

std::string manifest_json(const Manifest& manifest) {
  const Json root{{"version", 1},
                  {"quaver", manifest.quaver},
                  {"inputs", hashes_json(manifest.inputs)},
                  {"outputs", hashes_json(manifest.outputs)}};
  return root.dump(2) + "\n";
}

Manifest parse_manifest(std::string_view json, std::string_view where) {
  const Json root = parse_json(json, where, manifest_limits);
  ensure_file(root.is_object(), where, ": expected an object, found ", root.type_name());
  const std::int64_t version = json_int(root, "version", where);
  if (version != 1) fail(Fault::unsupported, where, ": 'version' is ", version, "; known: 1");
  return {.quaver = json_string(root, "quaver", where),
          .inputs = read_hashes(root, "inputs", where),
          .outputs = read_hashes(root, "outputs", where)};
}

Manifest read_manifest(const fs::path& directory) {
  const fs::path file = directory / manifest_file;
  return parse_manifest(read_file(file, manifest_limits.bytes), file.string());
}

void write_manifest(const fs::path& directory, const Manifest& manifest) {
  const std::string json = manifest_json(manifest);
  parse_manifest(json, "[manifest]");  // nothing is written that the check would refuse
  write_file_atomically(directory / manifest_file, json);
}

std::vector<HashProblem> check_hashes(const std::map<std::string, FileHash>& listed,
                                      const fs::path& directory) {
  std::vector<HashProblem> problems;
  for (const auto& [name, hash] : listed) {
    std::error_code error;
    const fs::path file = directory / name;
    if (!fs::exists(file, error)) {
      problems.push_back({name, "no such file", text(hash.bytes, " bytes")});
      continue;
    }
    try {
      const std::uintmax_t bytes = fs::file_size(file, error);  // first: hashing takes longer
      if (!error && bytes != hash.bytes) {
        problems.push_back({name, text(bytes, " bytes"), text(hash.bytes, " bytes")});
        continue;
      }
      const FileHash found = hash_file(file);
      if (found.sha256 != hash.sha256) problems.push_back({name, found.sha256, hash.sha256});
    } catch (const Error& e) {
      problems.push_back({name, e.what(), text(hash.bytes, " bytes")});
    }
  }
  return problems;
}

}  // namespace quaver
