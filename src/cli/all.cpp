#include "cli/command.h"

namespace quaver::cli {

std::span<const Command* const> commands() {
  static constexpr const Command* table[] = {&quantize, &plan,    &generate, &chat,
                                             &eval,     &forward, &tokenize, &detokenize,
                                             &inspect,  &verify,  &bench,    &doctor};
  return table;
}

}  // namespace quaver::cli
