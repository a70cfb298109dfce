#pragma once
// Regular expressions of tokenizer files: Oniguruma's syntax, as the `tokenizers` library has it,
// run by PCRE2.
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "text/pipeline.h"

namespace quaver::tokens {

// The PCRE2 pattern that matches what the Oniguruma pattern does (with UTF, UCP and MULTILINE on).
// Throws Error(unsupported) that begins with `where` for what PCRE2 cannot express.
std::string pcre2_pattern(std::string_view oniguruma, std::string_view where);

// Compiled once; safe to call from several threads. A search that takes too many steps throws
// Error(resource), as does one that needs too much memory.
class Regex {
 public:
  Regex(std::string_view oniguruma, std::string_view where);

  // The first match in valid UTF-8 from text[from] on. What stands before is seen by assertions.
  std::optional<Span> find(std::string_view text, std::size_t from) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace quaver::tokens
