// The text lies in the program as a zstd frame (data/heldout.txt.zst).
#include "eval/held_out.h"

#include <zstd.h>

#include "core/error.h"

extern "C" {
extern const unsigned char quaver_held_out_text[];
extern const unsigned char quaver_held_out_text_end[];
}

namespace quaver {

std::string held_out_text() {
  const auto bytes = static_cast<std::size_t>(quaver_held_out_text_end - quaver_held_out_text);
  const unsigned long long size = ZSTD_getFrameContentSize(quaver_held_out_text, bytes);
  if (size > (1u << 24)) fail(Fault::internal, "[eval] the built-in text is damaged");
  std::string text(static_cast<std::size_t>(size), '\0');
  const std::size_t got = ZSTD_decompress(text.data(), text.size(), quaver_held_out_text, bytes);
  if (got != text.size()) fail(Fault::internal, "[eval] the built-in text is damaged");
  return text;
}

}  // namespace quaver
