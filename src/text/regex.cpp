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

using Data = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Compiled {
  std::string source;
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, pcre2_code_free};
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits{
      nullptr, pcre2_match_context_free};

  Data lend() const {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        Data data = std::move(idle.back());
        idle.pop_back();
        return data;
      }
    }
    Data data(pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
    if (!data) fail(Fault::resource, "[regex] no memory for a search");
    return data;
  }
  void take_back(Data data) const {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(data));
  }

  mutable std::mutex mutex;
  mutable std::vector<Data> idle;  // one for each thread that searched at a time
};

Regex::Regex(std::string_view oniguruma, std::string_view where) {
  ensure_file(oniguruma.size() <= longest_pattern, where, ": a regular expression of ",
              oniguruma.size(), " bytes; at most ", longest_pattern, " are read");
  const std::string pattern = pcre2_pattern(oniguruma, where);
  auto compiled = std::make_shared<Compiled>();
  compiled->source = oniguruma;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  compiled->limits.reset(pcre2_match_context_create(nullptr));
  if (!context || !compiled->limits) fail(Fault::resource, "[regex] no memory to compile");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
  pcre2_set_match_limit(compiled->limits.get(), most_steps);
  pcre2_set_heap_limit(compiled->limits.get(), most_memory);
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
  Data data = compiled_->lend();
  const int found =
      pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                  from, PCRE2_NO_UTF_CHECK, data.get(), compiled_->limits.get());
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
  const Span span{ends[0], ends[1]};
  compiled_->take_back(std::move(data));
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
