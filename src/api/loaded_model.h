#pragma once
// What stands behind the public Model.
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>

#include "core/json.h"
#include "models/arch_file.h"
#include "models/decoder.h"
#include "quaver/model.h"
#include "text/tokenizer.h"

namespace quaver {

struct Model::Impl {
  std::filesystem::path directory;
  LoadOptions load;
  std::unique_ptr<Decoder> decoder;
  Json generation_config;  // null: none

  // Null if the directory has none. Read on first use, so that a model works with ids whatever its
  // tokenizer; throws Error then. May be called from several threads.
  const Tokenizer* tokenizer() const;
  const Tokenizer& needed_tokenizer() const;  // throws Error(bad_file) if there is none

 private:
  mutable std::once_flag once_;
  mutable std::optional<Tokenizer> tokenizer_;
};

inline ArchSearch search_of(const LoadOptions& load) {
  return {.own = load.archs, .file = load.arch_file};
}

// Refuses every device that this build does not know.
void check_device(const std::string& device);

}  // namespace quaver
