// Pre-tokenizers of tokenizer.json: the table, and those that take patterns or rewrite words.
#include "text/pre_tokenizers.h"

#include <algorithm>
#include <iterator>

#include "text/utf8.h"

namespace quaver::tokens {
namespace {

struct BehaviorName {
  std::string_view name;
  Behavior behavior;
};
constexpr BehaviorName behaviors[] = {
    {"Removed", Behavior::removed},
    {"Isolated", Behavior::isolated},
    {"MergedWithPrevious", Behavior::merged_with_previous},
    {"MergedWithNext", Behavior::merged_with_next},
    {"Contiguous", Behavior::contiguous},
};

}  // namespace

Behavior read_behavior(const Json& object, std::string_view where) {
  const std::string name = json_string(object, "behavior", where);
  const auto row = std::find_if(std::begin(behaviors), std::end(behaviors),
                                [&](const BehaviorName& b) { return b.name == name; });
  ensure_file(row != std::end(behaviors), where, ": unknown Split behavior '", name,
              "'; known: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
  return row->behavior;
}

void split_by(std::vector<Part>& parts, Behavior behavior, std::vector<Span>& pieces) {
  const bool backwards = behavior == Behavior::merged_with_next;
  if (backwards) std::reverse(parts.begin(), parts.end());
  bool previous_match = false;
  for (const Part& part : parts) {
    bool join = false;
    switch (behavior) {
      case Behavior::removed:
        if (part.match) continue;
        break;
      case Behavior::isolated:
        break;
      case Behavior::contiguous:
        join = part.match == previous_match;
        break;
      case Behavior::merged_with_previous:
      case Behavior::merged_with_next:
        join = part.match && !previous_match;
        break;
    }
    previous_match = part.match;
    if (join && !pieces.empty()) {
      (backwards ? pieces.back().begin : pieces.back().end) =
          backwards ? part.span.begin : part.span.end;
    } else {
      pieces.push_back(part.span);
    }
  }
  if (backwards) std::reverse(pieces.begin(), pieces.end());
}

namespace {

// The word as alternating matches and gaps; with `invert` the gaps count as matches.
void parts_of(std::string_view word, const Finder& find, bool invert, std::vector<Part>& parts) {
  parts.clear();
  std::size_t at = 0;
  for_each_match(find, word, [&](Span hit) {
    if (hit.begin > at) parts.push_back({{at, hit.begin}, invert});
    parts.push_back({hit, !invert});
    at = hit.end;
  });
  if (at < word.size()) parts.push_back({{at, word.size()}, invert});
}

PreTokenizer read_split(const Json& object, std::string_view where) {
  ensure_file(object.contains("pattern"), where, ": Split has no pattern");
  const Finder find = finder_of(read_pattern(object["pattern"], where), where);
  const Behavior behavior = read_behavior(object, where);
  const bool invert = json_bool(object, "invert", where, false);
  return [find, behavior, invert](Words& words) {
    std::vector<Part> parts;
    split_words(words, [&](std::string_view word, std::vector<Span>& pieces) {
      parts_of(word, find, invert, parts);
      split_by(parts, behavior, pieces);
    });
  };
}

void spell_in_byte_alphabet(Words& words) {
  if (!words.as_bytes) return;
  words.as_bytes = false;
  rewrite_words(words, [](std::string_view word, bool, std::string& out) {
    for (const char c : word) out += byte_character(static_cast<unsigned char>(c));
  });
}

PreTokenizer read_byte_level(const Json& object, std::string_view where) {
  const bool prefix = json_bool(object, "add_prefix_space", where, true);
  const bool use_regex = json_bool(object, "use_regex", where, true);
  return [prefix, use_regex](Words& words) {
    if (prefix) {
      rewrite_words(words, [](std::string_view word, bool, std::string& out) {
        if (word.front() != ' ') out += ' ';
        out += word;
      });
    }
    if (use_regex) {
      split_words(words, [](std::string_view word, std::vector<Span>& pieces) {
        for (std::size_t at = 0, end; at < word.size(); at = end) {
          end = gpt2_word_end(word, at);
          pieces.push_back({at, end});
        }
      });
    }
    // The model spells the words itself, once for each distinct one.
    words.as_bytes = true;
  };
}

PreTokenizer read_metaspace(const Json& object, std::string_view where) {
  const std::string mark = json_string(object, "replacement", where, "▁");
  ensure_file(!mark.empty() && character_length(mark[0]) == static_cast<int>(mark.size()), where,
              ": Metaspace's replacement '", mark, "' is not one character");
  const std::string scheme =
      json_string(object, "prepend_scheme", where,
                  json_bool(object, "add_prefix_space", where, true) ? "always" : "never");
  ensure_file(scheme == "always" || scheme == "first" || scheme == "never", where,
              ": unknown Metaspace prepend_scheme '", scheme, "'; known: always, first, never");
  const bool split = json_bool(object, "split", where, true);
  const Finder find = finder_of({mark, false}, where);
  return [=](Words& words) {
    rewrite_words(words, [&](std::string_view word, bool begins_text, std::string& out) {
      const bool marked = word.front() == ' ' || word.substr(0, mark.size()) == mark;
      const bool prepend = scheme == "always" || (scheme == "first" && begins_text);
      if (prepend && !marked) out += mark;
      out += replaced_all(word, " ", mark);
    });
    if (!split) return;
    std::vector<Part> parts;
    split_words(words, [&](std::string_view word, std::vector<Span>& pieces) {
      parts_of(word, find, false, parts);
      split_by(parts, Behavior::merged_with_next, pieces);
    });
  };
}

PreTokenizer read_pre_tokenizers(const Json& object, std::string_view where) {
  std::vector<PreTokenizer> steps;
  for (const Json& step : stage_list(object, "pretokenizers", where)) {
    steps.push_back(read_pre_tokenizer(step, where));
  }
  return [steps](Words& words) {
    for (const PreTokenizer& step : steps) {
      spell_in_byte_alphabet(words);
      step(words);
    }
  };
}

constexpr StageRow<PreTokenizer> pre_tokenizers[] = {
    {"Sequence", read_pre_tokenizers},
    {"ByteLevel", read_byte_level},
    {"Split", read_split},
    {"Metaspace", read_metaspace},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
    {"BertPreTokenizer", read_bert_pre_tokenizer},
    {"CharDelimiterSplit", read_char_delimiter_split},
    {"Punctuation", read_punctuation},
    {"Digits", read_digits},
    {"UnicodeScripts", read_unicode_scripts},
    {"FixedLength", read_fixed_length},
};

}  // namespace

PreTokenizer read_pre_tokenizer(const Json& object, std::string_view where) {
  return read_by_type(pre_tokenizers, "pre_tokenizer", object, where);
}

}  // namespace quaver::tokens
