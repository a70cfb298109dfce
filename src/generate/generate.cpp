#include "generate/generate.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "core/error.h"
#include "core/threads.h"
#include "generate/beam_search.h"
#include "generate/prompt_lookup.h"
#include "generate/stop_strings.h"

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;
using Clock = std::chrono::steady_clock;

// Tokens of a session's prompt that are computed between two looks at whether to stop.
constexpr std::int64_t prompt_part = 512;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Text of the new tokens of one row as it grows.
class RowText {
 public:
  RowText(const Tokenizer* tokenizer, const std::vector<std::string>& stop) : stop_(stop) {
    if (tokenizer) stream_.emplace(*tokenizer, true);
  }

  // The piece of text that became final; nothing without a tokenizer.
  std::string push(std::int32_t id) { return stream_ ? add(stream_->push(id)) : std::string(); }
  std::string finish() {
    return stream_ ? add(stream_->finish()) + keep(stop_.finish()) : std::string();
  }
  bool stopped() const { return stop_.found(); }
  std::optional<std::string> text() const { return stream_ ? std::optional(text_) : std::nullopt; }

 private:
  std::string add(std::string_view piece) { return keep(stop_.push(piece)); }
  std::string keep(std::string piece) {
    text_ += piece;
    return piece;
  }

  std::optional<TextStream> stream_;
  StopStrings stop_;
  std::string text_;
};

// Prompts as they are fed, checked.
std::vector<Ids> checked_prompts(const GenerateJob& job) {
  ensure(!job.prompts.empty(), "[generate] no prompt");
  ensure(job.settings.stop.empty() || job.tokenizer,
         "[generate] --stop needs a tokenizer, and this model has none");
  std::vector<Ids> prompts(job.prompts.begin(), job.prompts.end());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty() && job.settings.bos) prompts[i].push_back(*job.settings.bos);
    ensure(!prompts[i].empty(), "[generate] prompt ", i,
           " has no tokens, and the model names no beginning-of-text token");
    check_ids(job.decoder, prompts[i]);
  }
  return prompts;
}

// Tokens that the settings name and that no score stands for would go unnoticed.
void check_settings(const GenerateJob& job) {
  const std::int64_t vocabulary = job.decoder.config().vocab;
  const auto check = [&](const char* what, std::span<const std::int32_t> ids) {
    for (const std::int32_t id : ids)
      ensure(id >= 0 && id < vocabulary, "[generate] ", what, " names token ", id,
             ": this model's vocabulary has ", vocabulary, " tokens");
  };
  for (const TokenBias& b : job.settings.sequence_bias) check("a logit bias", b.ids);
  for (const TokenBias& b : job.settings.bad_words) check("bad_words_ids", b.ids);
  check("forced_eos_token_id", job.settings.forced_eos);
  if (job.settings.forced_bos) check("forced_bos_token_id", {&*job.settings.forced_bos, 1});
}

// Prompt and new tokens at most.
std::int64_t limit_of(const GenerateJob& job, const Ids& prompt) {
  const auto size = static_cast<std::int64_t>(prompt.size());
  return size + new_token_limit(job.settings, size, job.decoder.ends().position_limit());
}

std::span<float> row_of(Tensor& logits, std::int64_t row) {
  const auto vocabulary = static_cast<std::size_t>(logits.dim(1));
  return logits.data<float>().subspan(static_cast<std::size_t>(row) * vocabulary, vocabulary);
}

// Feeds each prompt once; its `copies` sequences, which lie one after another, all go on from
// there. Logits for every sequence.
Tensor feed_prompts(Session& session, const std::vector<Ids>& prompts, std::int64_t copies) {
  if (copies == 1) return session.feed(prompts);
  std::vector<Ids> ids(static_cast<std::size_t>(session.sequences()));
  std::vector<std::int32_t> parents(ids.size());
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const std::size_t prompt = s / static_cast<std::size_t>(copies);
    parents[s] = static_cast<std::int32_t>(static_cast<std::int64_t>(prompt) * copies);
    if (static_cast<std::int32_t>(s) == parents[s]) ids[s] = prompts[prompt];
  }
  const Tensor logits = session.feed(ids);
  session.reorder(parents);
  Tensor spread = Tensor::raw({session.sequences(), logits.dim(1)});
  for (std::int64_t s = 0; s < session.sequences(); ++s)
    copy_rows(spread, s, logits.rows(s / copies, s / copies + 1));
  return spread;
}

struct Timing {
  double prompt = 0, whole = 0;
};

GenerateResult result_of(const Ids& prompt, Ids ids, std::optional<std::string> text,
                         const Timing& timing) {
  GenerateResult r{.text = std::move(text), .ids = std::move(ids)};
  r.prompt_tokens = static_cast<std::int64_t>(prompt.size());
  r.new_tokens = static_cast<std::int64_t>(r.ids.size());
  r.prompt_seconds = timing.prompt;
  r.new_seconds = timing.whole - timing.prompt;
  return r;
}

// --- One token after another -------------------------------------------------------------------

struct Row {
  Ids tokens;  // prompt and new ones
  std::int64_t prompt_tokens = 0, most_tokens = 0;
  RandomStream random;
  RowText text;
  Ids draft = {};  // guesses of what follows `tokens`, fed behind the last of them
  std::int64_t drafted = 0, accepted = 0;
  bool done = false;

  Ids fresh() const { return {tokens.begin() + prompt_tokens, tokens.end()}; }
};

// Chooses the row's next token from its logits; true if the row goes on.
bool extend(Row& row, std::span<float> logits, const GenerateJob& job) {
  const GenerateSettings& settings = job.settings;
  const std::int32_t id =
      next_token(logits, {row.tokens, row.prompt_tokens, row.most_tokens}, settings, row.random);
  row.tokens.push_back(id);
  std::string piece = row.text.push(id);
  const bool full = static_cast<std::int64_t>(row.tokens.size()) >= row.most_tokens;
  const bool ends = std::ranges::find(settings.eos, id) != settings.eos.end();
  row.done = ends || full || row.text.stopped();
  if (row.done) piece += row.text.finish();
  if (job.sink && !job.sink(piece) && !row.done) {
    row.done = true;
    row.text.finish();
  }
  return !row.done;
}

// Rows that go on side by side. A row's guesses are fed with its last token; they hold as long as
// the tokens chosen from the model's own logits are the same, so they change speed alone.
class TokenLoop {
 public:
  TokenLoop(const GenerateJob& job, const std::vector<Ids>& prompts)
      : job_(&job),
        copies_(job.settings.num_return_sequences),
        guesses_(!job.decoder.arch().rotates_by_length(job.decoder.config().json)) {
    ensure(!job.session || (job.session->sequences() == 1 && prompts.size() == 1 && copies_ == 1),
           "[generate] a session is for one answer to one prompt");
    const auto sequences = static_cast<std::int64_t>(prompts.size()) * copies_;
    if (!job.session) own_.emplace(job.decoder, sequences, job.device, job.settings.kv_cache);
    session_ = job.session ? job.session : &*own_;
    for (std::size_t i = 0; i < static_cast<std::size_t>(sequences); ++i) {
      const Ids& prompt = prompts[i / static_cast<std::size_t>(copies_)];
      rows_.push_back({.tokens = prompt,
                       .prompt_tokens = static_cast<std::int64_t>(prompt.size()),
                       .most_tokens = limit_of(job, prompt),
                       .random = RandomStream(job.settings.seed, i),
                       .text = RowText(job.tokenizer, job.settings.stop)});
    }
    if (job.session) reused_ = reuse(prompts[0]);
  }
  TokenLoop(const TokenLoop&) = delete;  // session_ may point into it
  TokenLoop& operator=(const TokenLoop&) = delete;

  // The prompts' logits, one row a sequence.
  Tensor feed_prompts(const std::vector<Ids>& prompts) {
    if (!job_->session) return quaver::feed_prompts(*session_, prompts, copies_);
    const auto end = static_cast<std::int64_t>(prompts[0].size());
    Tensor logits;
    const std::int64_t part = guesses_ ? prompt_part : end;
    for (std::int64_t at = reused_; at < end; at += part) {
      const std::int64_t next = std::min(at + part, end);
      logits = session_->feed(Ids(prompts[0].begin() + at, prompts[0].begin() + next));
      if (next < end && job_->sink && !job_->sink(""))
        fail(Fault::interrupted, "[generate] stopped within the prompt");
    }
    return logits;
  }

  // Takes the logits of what was fed; false when all rows are done.
  bool advance(Tensor& logits) {
    bool open = false;
    std::int64_t at = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      Row& row = rows_[i];
      if (row.done) continue;
      const auto fed = static_cast<std::int64_t>(row.draft.size()) + 1;
      for (std::int64_t j = 0; extend(row, row_of(logits, at + j), *job_) && j + 1 < fed; ++j) {
        if (row.tokens.back() != row.draft[static_cast<std::size_t>(j)]) break;
        ++row.accepted;
      }
      at += fed;
      // What was fed beyond the tokens chosen is forgotten; the last one chosen is fed next.
      const auto sequence = static_cast<std::int64_t>(i);
      const auto held = static_cast<std::int64_t>(row.tokens.size()) - 1;
      if (session_->position(sequence) > held) session_->rewind(held, sequence);
      open |= !row.done;
    }
    return open;
  }

  Tensor feed_next() {
    std::vector<Ids> next(rows_.size());
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      Row& row = rows_[i];
      row.draft.clear();
      if (row.done) continue;
      // The token behind the guesses is the model's own: it needs room too.
      const std::int64_t room = row.most_tokens - static_cast<std::int64_t>(row.tokens.size()) - 1;
      const GenerateSettings& settings = job_->settings;
      if (guesses_)
        row.draft = looked_up(row.tokens, settings.max_matching_ngram_size,
                              std::min(settings.prompt_lookup_num_tokens, room));
      row.drafted += static_cast<std::int64_t>(row.draft.size());
      next[i] = {row.tokens.back()};
      next[i].insert(next[i].end(), row.draft.begin(), row.draft.end());
    }
    return session_->feed(next, Session::Rows::all);
  }

  std::vector<GenerateResult> results(const std::vector<Ids>& prompts, const Timing& timing) const {
    std::vector<GenerateResult> results;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const Row& row = rows_[i];
      const Ids& prompt = prompts[i / static_cast<std::size_t>(copies_)];
      results.push_back(result_of(prompt, row.fresh(), row.text.text(), timing));
      results.back().reused_tokens = reused_;
      results.back().drafted_tokens = row.drafted;
      results.back().accepted_tokens = row.accepted;
    }
    return results;
  }

 private:
  // Leaves in the session what the prompt begins with, but for the last token: its logits are
  // needed.
  std::int64_t reuse(const Ids& prompt) {
    const Ids& held = session_->ids();
    const auto same = std::ranges::mismatch(held, prompt).in2 - prompt.begin();
    const std::int64_t kept =
        guesses_ ? std::min<std::int64_t>(same, static_cast<std::int64_t>(prompt.size()) - 1) : 0;
    session_->rewind(kept);
    return kept;
  }

  const GenerateJob* job_;
  std::int64_t copies_, reused_ = 0;
  bool guesses_;  // a rotation that depends on the length allows none
  std::optional<Session> own_;
  Session* session_ = nullptr;
  std::vector<Row> rows_;
};

std::vector<GenerateResult> generate_tokens(const GenerateJob& job,
                                            const std::vector<Ids>& prompts) {
  const auto start = Clock::now();
  TokenLoop loop(job, prompts);
  Tensor logits = loop.feed_prompts(prompts);
  Timing timing{.prompt = seconds_since(start)};
  while (loop.advance(logits)) logits = loop.feed_next();
  timing.whole = seconds_since(start);
  return loop.results(prompts, timing);
}

// --- Beams -------------------------------------------------------------------------------------

// The searches of all prompts over one session: beam b of prompt i is sequence i * beams + b.
class BeamBatch {
 public:
  BeamBatch(const GenerateJob& job, const std::vector<Ids>& prompts)
      : job_(&job),
        prompts_(&prompts),
        beams_(job.settings.num_beams),
        session_(job.decoder, static_cast<std::int64_t>(prompts.size()) * beams_, job.device,
                 job.settings.kv_cache) {
    ensure(!job.session, "[generate] a session beside ", beams_, " beams: expected one");
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      most_tokens_.push_back(limit_of(job, prompts[i]));
      const auto limit = most_tokens_[i] - static_cast<std::int64_t>(prompts[i].size());
      searches_.emplace_back(job.settings, limit, RandomStream(job.settings.seed, i),
                             [this](std::span<const std::int32_t> ids) { return stops(ids); });
    }
  }
  BeamBatch(const BeamBatch&) = delete;  // the searches hold its address
  BeamBatch& operator=(const BeamBatch&) = delete;

  Tensor feed_prompts() { return quaver::feed_prompts(session_, *prompts_, beams_); }

  // Takes the logits of the open searches' beams; false when all are done.
  bool advance(Tensor& logits) {
    const std::int64_t vocabulary = logits.dim(1);
    std::vector<std::size_t> open = open_searches();
    parallel_for(logits.dim(0), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        score(row_of(logits, r), open[static_cast<std::size_t>(r / beams_)], r % beams_);
    });
    for (std::size_t k = 0; k < open.size(); ++k) {
      const Tensor rows = logits.rows(static_cast<std::int64_t>(k) * beams_,
                                      static_cast<std::int64_t>(k + 1) * beams_);
      searches_[open[k]].advance(rows.reshaped({beams_ * vocabulary}).data<float>());
    }
    return std::ranges::any_of(searches_, [](const BeamSearch& s) { return !s.done(); });
  }

  Tensor feed_beams() {
    std::vector<Ids> ids(static_cast<std::size_t>(session_.sequences()));
    std::vector<std::int32_t> parents(ids.size());
    for (std::size_t s = 0; s < ids.size(); ++s) {
      const auto b = static_cast<std::int64_t>(s) % beams_;
      const BeamSearch& search = searches_[s / static_cast<std::size_t>(beams_)];
      parents[s] = static_cast<std::int32_t>(s);
      if (search.done()) continue;
      parents[s] = static_cast<std::int32_t>(static_cast<std::int64_t>(s) - b) + search.parent(b);
      ids[s] = {search.tokens(b).back()};
    }
    session_.reorder(parents);
    return session_.feed(ids);
  }

  const Ids& best(std::size_t prompt, std::int64_t rank) const {
    return searches_[prompt].best(rank);
  }

 private:
  std::vector<std::size_t> open_searches() const {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < searches_.size(); ++i)
      if (!searches_[i].done()) open.push_back(i);
    return open;
  }

  // Logits of beam b of a prompt -> what the search adds to the beam's score.
  void score(std::span<float> logits, std::size_t prompt, std::int64_t b) const {
    const GenerateSettings& settings = job_->settings;
    Ids tokens = (*prompts_)[prompt];
    const auto prompt_tokens = static_cast<std::int64_t>(tokens.size());
    const Ids& fresh = searches_[prompt].tokens(b);
    tokens.insert(tokens.end(), fresh.begin(), fresh.end());
    log_softmax(logits);
    process(logits, {tokens, prompt_tokens, most_tokens_[prompt]}, settings);
    const auto keep = std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(settings.eos.size()));
    if (settings.sample) warp(logits, settings, keep);
    if (settings.renormalize_logits) log_softmax(logits);
  }

  bool stops(std::span<const std::int32_t> ids) const {
    if (job_->settings.stop.empty()) return false;
    return find_stop(job_->tokenizer->decode(ids, true), job_->settings.stop) != std::string::npos;
  }

  const GenerateJob* job_;
  const std::vector<Ids>* prompts_;
  std::int64_t beams_;
  Session session_;
  std::vector<BeamSearch> searches_;
  std::vector<std::int64_t> most_tokens_;  // of each prompt and what follows it
};

std::vector<GenerateResult> generate_beams(const GenerateJob& job,
                                           const std::vector<Ids>& prompts) {
  const auto start = Clock::now();
  BeamBatch batch(job, prompts);
  Tensor logits = batch.feed_prompts();
  Timing timing{.prompt = seconds_since(start)};
  while (batch.advance(logits)) {
    // Nothing is final before the end; the sink can only say that nobody waits for it any more.
    if (job.sink && !job.sink("")) fail(Fault::interrupted, "[generate] stopped before an end");
    logits = batch.feed_beams();
  }
  timing.whole = seconds_since(start);
  std::vector<GenerateResult> results;
  const std::int64_t answers = job.settings.num_return_sequences;
  for (std::size_t i = 0; i < prompts.size() * static_cast<std::size_t>(answers); ++i) {
    const std::size_t prompt = i / static_cast<std::size_t>(answers);
    const Ids& ids = batch.best(prompt, static_cast<std::int64_t>(i) % answers);
    RowText text(job.tokenizer, job.settings.stop);
    for (const std::int32_t id : ids) text.push(id);
    text.finish();
    results.push_back(result_of(prompts[prompt], ids, text.text(), timing));
  }
  if (job.sink && results.front().text) job.sink(*results.front().text);
  return results;
}

}  // namespace

std::vector<GenerateResult> generate(const GenerateJob& job) {
  const std::vector<Ids> prompts = checked_prompts(job);
  const auto answers =
      static_cast<std::int64_t>(prompts.size()) * job.settings.num_return_sequences;
  ensure(!job.sink || answers == 1, "[generate] ", answers,
         " answers cannot be streamed: expected one");
  check_settings(job);
  return job.settings.num_beams > 1 ? generate_beams(job, prompts) : generate_tokens(job, prompts);
}

}  // namespace quaver
