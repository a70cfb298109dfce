#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <mutex>
#include <vector>

namespace quaver::tokens {
namespace {

constexpr std::size_t longest_pattern = 65536;   // bytes
constexpr std::uint32_t most_steps = 2'000'000;  // of one search
constexpr std::uint32_t most_memory = 65536;     // KiB of one search

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Compiled {
  // What a search needs for itself. Compiled patterns keep what they may have to take back on
  // `stack`, which grows: the 32 KiB that they have without it end after some thousand characters.
  struct Search {
    std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data{
        pcre2_match_data_create(1, nullptr), pcre2_match_data_free};
    std::unique_ptr<pcre2_jit_stack, decltype(&pcre2_jit_stack_free)> stack{
        pcre2_jit_stack_create(32768, most_memory* std::size_t{1024}, nullptr),
        pcre2_jit_stack_free};
    std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits{
        pcre2_match_context_create(nullptr), pcre2_match_context_free};

    Search() {
      if (!data || !limits) fail(Fault::resource, "[regex] no memory for a search");
      pcre2_set_match_limit(limits.get(), most_steps);
      pcre2_set_heap_limit(limits.get(), most_memory);
      if (stack) pcre2_jit_stack_assign(limits.get(), nullptr, stack.get());  // null: no compiler
    }
  };

  std::string source;
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, pcre2_code_free};

  std::unique_ptr<Search> lend() const {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        std::unique_ptr<Search> search = std::move(idle.back());
        idle.pop_back();
        return search;
      }
    }
    return std::make_unique<Search>();
  }
  void take_back(std::unique_ptr<Search> search) const {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(search));
  }

  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Search>> idle;  // one for each thread that searched at a time
};

Regex::Regex(std::string_view oniguruma, std::string_view where) {
  ensure_file(oniguruma.size() <= longest_pattern, where, ": a regular expression of ",
              oniguruma.size(), " bytes; at most ", longest_pattern, " are read");
  const std::string pattern = pcre2_pattern(oniguruma, where);
  auto compiled = std::make_shared<Compiled>();
  compiled->source = oniguruma;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) fail(Fault::resource, "[regex] no memory to compile");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
  int error = 0;
  PCRE2_SIZE place = 0;
  compiled->code.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                    &place, context.get()));
  if (!compiled->code) {
    fail(Fault::unsupported, where, ": regular expression ", oniguruma, " : ", message_of(error),
         " (at byte ", place, " of ", pattern, ")");
  }
  // Where there is no just-in-time compiler the interpreter does the same, more slowly.
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
  compiled_ = std::move(compiled);
}

std::optional<Span> Regex::find(std::string_view text, std::size_t from) const {
  auto search = compiled_->lend();
  const int found =
      pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                  from, PCRE2_NO_UTF_CHECK, search->data.get(), search->limits.get());
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(search->data.get());
  const Span span{ends[0], ends[1]};
  compiled_->take_back(std::move(search));
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0) {
    fail(Fault::resource, "[regex] ", compiled_->source, " gave up at byte ", from,
         " of a text of ", text.size(), ": ", message_of(found));
  }
  // Look-behinds with \K could turn a match around.
  if (span.begin < from || span.end < span.begin) {
    fail(Fault::unsupported, "[regex] ", compiled_->source, " matches text before its start");
  }
  return span;
}

}  // namespace quaver::tokens
