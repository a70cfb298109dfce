#pragma once
// The readers of decoders that decoders.cpp names in its table.
#include <string>
#include <utility>

#include "text/pipeline.h"

namespace quaver::tokens {

// Passes on whole tokens made by `change(token)`.
template <class Change>
Decoder token_decoder(Change change) {
  return [change](TokenSink next) -> TokenSink {
    return [change, next = std::move(next), token = std::string()](std::string_view part,
                                                                   Mark mark) mutable {
      if (mark == Mark::finish) return next({}, mark);
      token += part;
      if (mark == Mark::part) return;
      next(change(std::exchange(token, {})), Mark::part);
      next({}, Mark::token_end);
    };
  };
}

Decoder read_word_piece_decoder(const Json& object, std::string_view where);
Decoder read_bpe_decoder(const Json& object, std::string_view where);
Decoder read_ctc(const Json& object, std::string_view where);

}  // namespace quaver::tokens
