#include "generate/generate.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "core/error.h"
#include "core/threads.h"
#include "generate/beam_search.h"
#include "generate/session.h"
#include "generate/stop_strings.h"

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;
using Clock = std::chrono::steady_clock;

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

std::int64_t limit_of(const GenerateJob& job, std::span<const Ids> prompts) {
  std::size_t longest = 0;
  for (const Ids& prompt : prompts) longest = std::max(longest, prompt.size());
  const std::int64_t positions = job.decoder.ends().position_limit();
  return new_token_limit(job.settings, static_cast<std::int64_t>(longest), positions);
}

std::span<float> row_of(Tensor& logits, std::int64_t row) {
  const auto vocabulary = static_cast<std::size_t>(logits.dim(1));
  return logits.data<float>().subspan(static_cast<std::size_t>(row) * vocabulary, vocabulary);
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
  std::int64_t prompt_tokens = 0;
  RandomStream random;
  RowText text;
  bool done = false;

  Ids fresh() const { return {tokens.begin() + prompt_tokens, tokens.end()}; }
};

// Chooses the row's next token from its logits; true if the row goes on.
bool extend(Row& row, std::span<float> logits, const GenerateJob& job, std::int64_t limit) {
  const GenerateSettings& settings = job.settings;
  const std::int32_t id = next_token(logits, {row.tokens, row.prompt_tokens}, settings, row.random);
  row.tokens.push_back(id);
  std::string piece = row.text.push(id);
  const auto count = static_cast<std::int64_t>(row.tokens.size()) - row.prompt_tokens;
  const bool ends = std::ranges::find(settings.eos, id) != settings.eos.end();
  row.done = ends || count >= limit || row.text.stopped();
  if (row.done) piece += row.text.finish();
  if (job.sink && !piece.empty() && !job.sink(piece) && !row.done) {
    row.done = true;
    row.text.finish();
  }
  return !row.done;
}

std::vector<GenerateResult> generate_tokens(const GenerateJob& job,
                                            const std::vector<Ids>& prompts) {
  const std::int64_t limit = limit_of(job, prompts);
  const auto start = Clock::now();
  Session session(job.decoder, static_cast<std::int64_t>(prompts.size()), job.device);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < prompts.size(); ++i)
    rows.push_back({.tokens = prompts[i],
                    .prompt_tokens = static_cast<std::int64_t>(prompts[i].size()),
                    .random = RandomStream(job.settings.seed, i),
                    .text = RowText(job.tokenizer, job.settings.stop)});
  std::vector<Ids> next = prompts;
  Timing timing;
  for (bool open = true; open;) {
    Tensor logits = session.feed(next);
    if (timing.prompt == 0) timing.prompt = seconds_since(start);
    open = false;
    std::int64_t fed = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].done) continue;
      next[i].clear();
      if (!extend(rows[i], row_of(logits, fed++), job, limit)) continue;
      next[i].push_back(rows[i].tokens.back());
      open = true;
    }
  }
  timing.whole = seconds_since(start);
  std::vector<GenerateResult> results;
  for (std::size_t i = 0; i < rows.size(); ++i)
    results.push_back(result_of(prompts[i], rows[i].fresh(), rows[i].text.text(), timing));
  return results;
}

// --- Beams -------------------------------------------------------------------------------------

// The searches of all prompts over one session: beam b of prompt i is sequence i * beams + b.
class BeamBatch {
 public:
  BeamBatch(const GenerateJob& job, const std::vector<Ids>& prompts)
      : job_(&job),
        prompts_(&prompts),
        beams_(job.settings.num_beams),
        session_(job.decoder, static_cast<std::int64_t>(prompts.size()) * beams_, job.device) {
    const std::int64_t limit = limit_of(job, prompts);
    for (std::size_t i = 0; i < prompts.size(); ++i)
      searches_.emplace_back(job.settings, limit, RandomStream(job.settings.seed, i),
                             [this](std::span<const std::int32_t> ids) { return stops(ids); });
  }
  BeamBatch(const BeamBatch&) = delete;  // the searches hold its address
  BeamBatch& operator=(const BeamBatch&) = delete;

  // Feeds the prompts, once each; all their beams go on from there.
  Tensor feed_prompts() {
    std::vector<Ids> ids(static_cast<std::size_t>(session_.sequences()));
    std::vector<std::int32_t> parents(ids.size());
    for (std::size_t s = 0; s < ids.size(); ++s) {
      const std::size_t prompt = s / static_cast<std::size_t>(beams_);
      parents[s] = static_cast<std::int32_t>(prompt) * static_cast<std::int32_t>(beams_);
      if (static_cast<std::int32_t>(s) == parents[s]) ids[s] = (*prompts_)[prompt];
    }
    const Tensor logits = session_.feed(ids);
    session_.reorder(parents);
    Tensor spread = Tensor::raw({session_.sequences(), logits.dim(1)});
    for (std::int64_t s = 0; s < session_.sequences(); ++s)
      copy_rows(spread, s, logits.rows(s / beams_, s / beams_ + 1));
    return spread;
  }

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

  const Ids& best(std::size_t prompt) const { return searches_[prompt].best(); }

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
    process(logits, {tokens, prompt_tokens}, settings);
    const auto keep = std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(settings.eos.size()));
    if (settings.sample) warp(logits, settings, keep);
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
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const Ids& ids = batch.best(i);
    RowText text(job.tokenizer, job.settings.stop);
    for (const std::int32_t id : ids) text.push(id);
    text.finish();
    results.push_back(result_of(prompts[i], ids, text.text(), timing));
  }
  if (job.sink && results.front().text) job.sink(*results.front().text);
  return results;
}

}  // namespace

std::vector<GenerateResult> generate(const GenerateJob& job) {
  const std::vector<Ids> prompts = checked_prompts(job);
  ensure(!job.sink || prompts.size() == 1, "[generate] ", prompts.size(),
         " prompts cannot be streamed: expected one");
  return job.settings.num_beams > 1 ? generate_beams(job, prompts) : generate_tokens(job, prompts);
}

}  // namespace quaver
