// Bytes as a tokenizer file: the readers must answer with a tokenizer or an Error, and what they
// accept must encode and decode any text. The first byte chooses the kind of file.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view file = bytes.substr(1);
  const std::string_view text = bytes.substr(size - size / 4);  // any bytes, UTF-8 or not
  try {
    const auto kind = static_cast<unsigned char>(bytes[0]) % 4;
    const quaver::Tokenizer tokenizer = kind == 3 ? quaver::Tokenizer::parse_tiktoken(file, "qwen")
                                        : kind % 2 == 0
                                            ? quaver::Tokenizer::parse_json(file, "fuzz")
                                            : quaver::Tokenizer::parse_sentencepiece(file, "fuzz");
    for (const std::string_view given :
         {text, std::string_view("Once  upon\xFF a <s>time 你好 ")}) {
      const auto ids = tokenizer.encode(given, true);
      const std::string whole = tokenizer.decode(ids, false);
      quaver::TextStream stream(tokenizer, false);
      std::string joined;
      for (const std::int32_t id : ids) joined += stream.push(id);
      joined += stream.finish();
      if (joined != whole) __builtin_trap();
    }
  } catch (const quaver::Error& error) {
    if (error.fault == quaver::Fault::internal) __builtin_trap();
  }
  return 0;
}
