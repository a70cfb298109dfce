#pragma once
// Template text to tokens, by the rules of Jinja 3.1 with trim_blocks and lstrip_blocks.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quaver::jinja {

struct Token {
  enum class Kind {
    data,
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    string,
    integer,
    real,
    op,
    end
  };
  Kind kind = Kind::end;
  int line = 1;
  std::string text;  // data, name, unescaped string, operator
  std::int64_t integer = 0;
  double real = 0;

  bool is_op(std::string_view value) const { return kind == Kind::op && text == value; }
  bool is_name(std::string_view value) const { return kind == Kind::name && text == value; }
};

// `source` is valid UTF-8. The last token is an end. Throws Error, its message beginning "line N:
// ".
std::vector<Token> tokenize(std::string_view source);

}  // namespace quaver::jinja
