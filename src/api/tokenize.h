#pragma once
// A model's tokenizer without its weights.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

class TextCodec {
 public:
  // The tokenizer of a checkpoint directory. Throws Error(bad_file) if there is none.
  explicit TextCodec(const std::string& directory);
  ~TextCodec();

  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens) const;
  std::string decode(std::span<const std::int32_t> ids, bool keep_special_tokens) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quaver
