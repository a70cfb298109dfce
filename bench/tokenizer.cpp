// bench_tokenizer TOKENIZER_FILE TEXT_FILE [ROUNDS]: encoding and decoding speed on one thread.
// `cold` is a fresh tokenizer's first text; `warm` is the best of the later rounds.
#include "text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "core/file.h"

namespace {

template <class Work>
double seconds(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int measure(const char* tokenizer_file, const char* text_file, int rounds) {
  const std::string text = quaver::read_file(text_file, std::uint64_t{1} << 32);
  const double load = seconds([&] { quaver::Tokenizer::load(tokenizer_file); });
  const quaver::Tokenizer tokenizer = quaver::Tokenizer::load(tokenizer_file);
  std::vector<std::int32_t> ids;
  const auto encode = [&] { ids = tokenizer.encode(text, false); };
  const double cold = seconds(encode);
  double warm = cold, decode = 1e30;
  for (int i = 0; i < rounds; ++i) {
    warm = std::min(warm, seconds(encode));
    decode = std::min(decode, seconds([&] { tokenizer.decode(ids, false); }));
  }
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::printf("load %.1f ms; %.2f MB, %zu ids; encode MB/s: cold %.1f, warm %.1f; decode %.1f\n",
              load * 1e3, megabytes, ids.size(), megabytes / cold, megabytes / warm,
              megabytes / decode);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_tokenizer TOKENIZER_FILE TEXT_FILE [ROUNDS]\n");
    return 2;
  }
  try {
    return measure(argv[1], argv[2], argc > 3 ? std::max(1, std::atoi(argv[3])) : 5);
  } catch (const quaver::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
}
