// package_test MODEL: generates eight ids, scores a little text, and meets an error, all through
// the public headers alone.
#include <cstdint>
#include <iostream>
#include <vector>

#include "quaver/quaver.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const quaver::Model model = quaver::Model::load(argv[1]);
  const std::vector<std::vector<std::int32_t>> prompts{{2, 10, 20, 30}};
  const auto results = model.generate(prompts, {.max_new_tokens = 8, .ignore_eos = true});
  std::cout << "quaver " << quaver::version() << ":";
  for (const std::int32_t id : results[0].ids) std::cout << ' ' << id;
  std::cout << '\n';

  bool refused = false;
  try {
    quaver::quantize(argv[1], "unused", {.bits = 99});
  } catch (const quaver::Error& error) {
    refused = error.fault == quaver::Fault::bad_argument;
  }
  return results[0].ids.size() == 8 && refused ? 0 : 1;
}
