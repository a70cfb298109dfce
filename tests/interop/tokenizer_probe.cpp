// tokenizer_probe TOKENIZER_FILE TEXTS OUT: what quaver makes of many texts, for
// tokenizers_mixed.py to compare with the reference libraries.
//
// TEXTS: for each text its length in bytes (u32, little-endian) and the bytes.
// OUT:   for each text three blocks, each a length in bytes and the bytes: its ids with special
//        tokens (i32), their text, their text without special tokens.
// Exits 1 where the pieces of streaming decoding, joined, differ from the text decoded at once, or
// one of them is not whole UTF-8.
#include <cstdio>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "core/file.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

void write_block(std::ostream& out, const void* bytes, std::size_t size) {
  const auto length = static_cast<std::uint32_t>(size);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
}

// Whether streaming gives `whole`, in pieces of whole characters.
bool streams(const quaver::Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, bool skip,
             const std::string& whole) {
  quaver::TextStream stream(tokenizer, skip);
  std::string joined;
  const auto take = [&](const std::string& piece) {
    joined += piece;
    return quaver::tokens::is_valid_utf8(piece);
  };
  for (const std::int32_t id : ids) {
    if (!take(stream.push(id))) return false;
  }
  return take(stream.finish()) && joined == whole;
}

int probe(const char* tokenizer_file, const char* texts_file, const char* out_file) {
  const quaver::Tokenizer tokenizer = quaver::Tokenizer::load(tokenizer_file);
  const std::string texts = quaver::read_file(texts_file, std::uint64_t{1} << 31);
  std::ofstream out(out_file, std::ios::binary);
  int wrong = 0;
  std::uint32_t length = 0;
  for (std::size_t at = 0, number = 0; at + sizeof length <= texts.size(); ++number) {
    std::memcpy(&length, texts.data() + at, sizeof length);
    at += sizeof length;
    const auto ids = tokenizer.encode(std::string_view(texts).substr(at, length), true);
    at += length;
    write_block(out, ids.data(), ids.size() * sizeof ids[0]);
    for (const bool skip : {false, true}) {
      const std::string text = tokenizer.decode(ids, skip);
      write_block(out, text.data(), text.size());
      if (streams(tokenizer, ids, skip, text)) continue;
      std::fprintf(stderr, "text %zu: streamed otherwise than decoded\n", number);
      ++wrong;
    }
  }
  out.close();
  quaver::ensure(out.good(), out_file, ": cannot be written");
  return wrong != 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: tokenizer_probe TOKENIZER_FILE TEXTS OUT\n");
    return 2;
  }
  try {
    return probe(argv[1], argv[2], argv[3]);
  } catch (const quaver::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
}
