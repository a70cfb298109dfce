// Bytes as a tokenizer's files: the readers must answer with a tokenizer or an Error, and what they
// accept must encode and decode any text. The first byte chooses the kind of file; files that come
// together are separated by zero bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "text/engine.h"
#include "text/tokenizer.h"

namespace {

quaver::Tokenizer tokenizer_of(unsigned kind, std::string_view file) {
  const auto next = [&file] {
    const std::size_t end = std::min(file.find('\0'), file.size());
    const std::string part(file.substr(0, end));
    file.remove_prefix(std::min(end + 1, file.size()));
    return part;
  };
  switch (kind % 8) {
    case 3:
      return quaver::Tokenizer::parse_tiktoken(file, "qwen");
    case 5: {
      const std::string config = next();
      return quaver::Tokenizer::parse_sentencepiece(file, "fuzz", config);
    }
    case 6:
    case 7: {
      quaver::tokens::DirectoryFiles files{.list = kind % 8 == 6};
      files.vocabulary = next();
      if (!files.list) files.merges = next();
      files.config = next();
      files.special_tokens_map = next();
      files.added_tokens = next();
      files.model = next();
      return quaver::Tokenizer::parse_vocabulary(files, "fuzz");
    }
    default:
      return kind % 2 == 0 ? quaver::Tokenizer::parse_json(file, "fuzz")
                           : quaver::Tokenizer::parse_sentencepiece(file, "fuzz");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view text = bytes.substr(size - size / 4);  // any bytes, UTF-8 or not
  try {
    const quaver::Tokenizer tokenizer =
        tokenizer_of(static_cast<unsigned char>(bytes[0]), bytes.substr(1));
    for (const std::string_view given :
         {text, std::string_view("Once  upon\xFF a <s>time 你好 ")}) {
      const auto ids = tokenizer.encode(given, true);
      for (const bool skip : {false, true}) {
        const std::string whole = tokenizer.decode(ids, skip);
        quaver::TextStream stream(tokenizer, skip);
        std::string joined;
        for (const std::int32_t id : ids) joined += stream.push(id);
        joined += stream.finish();
        if (joined != whole) __builtin_trap();
      }
    }
  } catch (const quaver::Error& error) {
    if (error.fault == quaver::Fault::internal) __builtin_trap();
  }
  return 0;
}
