// Decoders of tokenizer.json, as sinks: each keeps only what may still change, so that one
// implementation serves whole and streaming decoding.
#include "text/decoders.h"

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace quaver::tokens {
namespace {

Decoder read_replace(const Json& object, std::string_view where) {
  ensure_file(object.contains("pattern"), where, ": Replace has no pattern");
  const Pattern pattern = read_pattern(object["pattern"], where);
  const std::string content = json_string(object, "content", where);
  return token_decoder([find = finder_of(pattern, where), content](const std::string& token) {
    std::string out;
    std::size_t done = 0;
    for_each_match(find, token, [&](Span hit) {
      out.append(token, done, hit.begin - done) += content;
      done = hit.end;
    });
    return out.append(token, done);
  });
}

// The byte of a token "<0x41>", or -1.
int byte_token(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = 16 * value + digit;
  }
  return value;
}

// A run of byte tokens is text if all of it is valid UTF-8; else each byte becomes U+FFFD. Nothing
// of a run is final before its end.
Decoder read_byte_fallback(const Json&, std::string_view) {
  return [](TokenSink next) -> TokenSink {
    return [next = std::move(next), token = std::string(), run = std::string()](
               std::string_view part, Mark mark) mutable {
      const auto flush = [&] {
        if (run.empty()) return;
        const bool valid = is_valid_utf8(run);
        for (std::size_t i = 0; i < (valid ? 1 : run.size()); ++i) {
          next(valid ? std::string_view(run) : replacement_character, Mark::part);
          next({}, Mark::token_end);
        }
        run.clear();
      };
      if (mark == Mark::finish) {
        flush();
        return next({}, mark);
      }
      token += part;
      if (mark == Mark::part) return;
      if (const int byte = byte_token(token); byte >= 0) {
        run.push_back(static_cast<char>(byte));
      } else {
        flush();
        next(token, Mark::part);
        next({}, Mark::token_end);
      }
      token.clear();
    };
  };
}

// All tokens become one.
Decoder read_fuse(const Json&, std::string_view) {
  return [](TokenSink next) -> TokenSink {
    return [next = std::move(next)](std::string_view part, Mark mark) {
      if (mark == Mark::part) next(part, mark);
      if (mark != Mark::finish) return;
      next({}, Mark::token_end);
      next({}, Mark::finish);
    };
  };
}

// Takes up to `start` characters `content` off the front of each token and up to `stop` off its
// end; what stands at the end is held back until the token goes on or ends.
Decoder read_strip(const Json& object, std::string_view where) {
  const std::string content = json_string(object, "content", where);
  const std::int64_t start = json_int(object, "start", where, 0);
  const std::int64_t stop = json_int(object, "stop", where, 0);
  ensure_file(!content.empty() && character_length(content[0]) == static_cast<int>(content.size()),
              where, ": Strip's content '", content, "' is not one character");
  ensure_file(start >= 0 && stop >= 0, where, ": Strip with start ", start, ", stop ", stop);
  return [=](TokenSink next) -> TokenSink {
    return [=, next = std::move(next), left = start, held = std::int64_t{0}](std::string_view part,
                                                                             Mark mark) mutable {
      const auto release = [&](std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) next(content, Mark::part);
        held -= count;
      };
      std::string out;
      while (!part.empty()) {
        const auto length = static_cast<std::size_t>(character_length(part[0]));
        const std::string_view character = part.substr(0, length);
        part.remove_prefix(length);
        if (character == content && left > 0) {
          --left;
        } else if (character == content) {
          left = 0;
          next(std::exchange(out, {}), Mark::part);
          if (++held > stop) release(held - stop);
        } else {
          left = 0;
          release(held);
          out += character;
        }
      }
      if (!out.empty()) next(out, Mark::part);
      if (mark == Mark::part) return;
      held = 0;
      left = start;
      next({}, mark);
    };
  };
}

// Bytes to text: what is complete goes on at once, an open sequence waits for the next token.
Decoder read_byte_level(const Json&, std::string_view) {
  return [](TokenSink next) -> TokenSink {
    return [next = std::move(next), token = std::string(), open = std::string()](
               std::string_view part, Mark mark) mutable {
      const auto pass_on = [&](bool all) {
        std::string out;
        std::size_t at = 0;
        while (at < open.size()) {
          const CodePoint point = read_code_point(open, at);
          if (point.partial && !all) break;
          const auto length = static_cast<std::size_t>(point.length);
          out += point.valid ? std::string_view(open).substr(at, length) : replacement_character;
          at += length;
        }
        open.erase(0, at);
        if (!out.empty()) next(out, Mark::part);
      };
      if (mark == Mark::finish) {
        pass_on(true);
        next({}, Mark::token_end);
        return next({}, mark);
      }
      token += part;
      if (mark == Mark::part) return;
      const std::size_t before = open.size();
      for (std::size_t at = 0; at < token.size();) {
        int length;
        const auto byte = byte_of(valid_code_point(token.data() + at, length));
        if (!byte) {  // not in the alphabet: an added token, which stands for itself
          open.resize(before);
          open += token;
          break;
        }
        open.push_back(static_cast<char>(*byte));
        at += static_cast<std::size_t>(length);
      }
      token.clear();
      pass_on(false);
    };
  };
}

Decoder read_metaspace(const Json& object, std::string_view where) {
  const std::string mark_text = json_string(object, "replacement", where, "▁");
  ensure_file(
      !mark_text.empty() && character_length(mark_text[0]) == static_cast<int>(mark_text.size()),
      where, ": Metaspace's replacement '", mark_text, "' is not one character");
  const std::string scheme =
      json_string(object, "prepend_scheme", where,
                  json_bool(object, "add_prefix_space", where, true) ? "always" : "never");
  return [=](TokenSink next) -> TokenSink {
    return [=, next = std::move(next), first = true](std::string_view part, Mark mark) mutable {
      if (!part.empty()) {
        next(replaced_all(part, mark_text, first && scheme != "never" ? "" : " "), Mark::part);
      }
      if (mark == Mark::part) return;
      first = false;
      next({}, mark);
    };
  };
}

Decoder read_decoders(const Json& object, std::string_view where) {
  std::vector<Decoder> steps;
  for (const Json& step : stage_list(object, "decoders", where)) {
    steps.push_back(read_decoder(step, where));
  }
  return [steps](TokenSink next) -> TokenSink {
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) next = (*step)(std::move(next));
    return next;
  };
}

constexpr StageRow<Decoder> decoders[] = {
    {"Sequence", read_decoders},
    {"ByteLevel", read_byte_level},
    {"Replace", read_replace},
    {"ByteFallback", read_byte_fallback},
    {"Fuse", read_fuse},
    {"Strip", read_strip},
    {"Metaspace", read_metaspace},
    {"WordPiece", read_word_piece_decoder},
    {"BPEDecoder", read_bpe_decoder},
    {"CTC", read_ctc},
};

}  // namespace

Decoder joining_decoder() {
  return [](TokenSink next) -> TokenSink {
    return [next = std::move(next), later = false, begun = false](std::string_view part,
                                                                  Mark mark) mutable {
      if (mark == Mark::finish) return next({}, mark);
      if (later && !begun) next(" ", Mark::part);
      begun = true;
      next(part, mark);
      if (mark == Mark::part) return;
      later = true;
      begun = false;
    };
  };
}

Decoder read_decoder(const Json& object, std::string_view where) {
  return read_by_type(decoders, "decoder", object, where);
}

}  // namespace quaver::tokens
