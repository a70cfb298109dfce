// Decoders of tokenizer.json for tokens that are parts of words.
#include "text/decoders.h"

namespace quaver::tokens {
namespace {

// What the reference library undoes of the splitting of English, in its order.
std::string cleaned(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> changes[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  if (text.find(' ') == std::string::npos) return text;
  for (const auto& [from, to] : changes) {
    if (text.find(from) != std::string::npos) text = replaced_all(text, from, to);
  }
  return text;
}

}  // namespace

// A token that does not begin with the prefix of continuing ones begins a word.
Decoder read_word_piece_decoder(const Json& object, std::string_view where) {
  const std::string prefix = json_string(object, "prefix", where, "##");
  const bool clean = json_bool(object, "cleanup", where, true);
  return [=](TokenSink next) -> TokenSink {
    return [=, next = std::move(next), token = std::string(), first = true](std::string_view part,
                                                                            Mark mark) mutable {
      if (mark == Mark::finish) return next({}, mark);
      token += part;
      if (mark == Mark::part) return;
      if (!first && token.compare(0, prefix.size(), prefix) == 0) {
        token.erase(0, prefix.size());
      } else if (!first) {
        token.insert(0, 1, ' ');
      }
      first = false;
      next(clean ? cleaned(std::exchange(token, {})) : std::exchange(token, {}), Mark::part);
      next({}, Mark::token_end);
    };
  };
}

// The suffix that ends words is a space, but nothing in the last token: so each token waits for the
// next one.
Decoder read_bpe_decoder(const Json& object, std::string_view where) {
  const std::string suffix = json_string(object, "suffix", where, "</w>");
  ensure_file(!suffix.empty(), where, ": BPEDecoder's suffix is empty");
  return [suffix](TokenSink next) -> TokenSink {
    return [=, next = std::move(next), token = std::string(), waiting = std::string(), any = false](
               std::string_view part, Mark mark) mutable {
      token += part;
      if (mark == Mark::part) return;
      if (any) {
        next(replaced_all(waiting, suffix, mark == Mark::finish ? "" : " "), Mark::part);
        next({}, Mark::token_end);
      }
      waiting = std::exchange(token, {});
      any = true;
      if (mark == Mark::finish) next({}, mark);
    };
  };
}

// Connectionist temporal classification (Graves et al. 2006): runs of one token are one, the pad
// token is nothing.
Decoder read_ctc(const Json& object, std::string_view where) {
  const std::string pad = json_string(object, "pad_token", where, "<pad>");
  const std::string delimiter = json_string(object, "word_delimiter_token", where, "|");
  const bool clean = json_bool(object, "cleanup", where, true);
  ensure_file(!pad.empty() && !delimiter.empty(), where,
              ": CTC's pad_token or word_delimiter_token is empty");
  return [=](TokenSink next) -> TokenSink {
    return [=, next = std::move(next), token = std::string(), last = std::string(), any = false](
               std::string_view part, Mark mark) mutable {
      if (mark == Mark::finish) return next({}, mark);
      token += part;
      if (mark == Mark::part) return;
      const bool repeats = any && token == last;
      last = std::exchange(token, {});
      any = true;
      if (repeats) return;
      std::string text = replaced_all(last, pad, "");
      if (clean) text = replaced_all(cleaned(std::move(text)), delimiter, " ");
      if (text.empty()) return;
      next(text, Mark::part);
      next({}, Mark::token_end);
    };
  };
}

}  // namespace quaver::tokens
