#include "generate/beam_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace quaver {
namespace {

// Stands for "not to be chosen"; added to scores in f32, as the reference does.
constexpr float penalty = -1e9f;

// Indices of the `count` largest values, falling; of equal ones the first comes first.
std::vector<std::size_t> top(std::span<const float> values, std::size_t count) {
  count = std::min(count, values.size());
  std::vector<std::size_t> heap;  // the worst of the best in front
  heap.reserve(count + 1);
  const auto better = [&](std::size_t a, std::size_t b) {
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  };
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (heap.size() == count && !better(i, heap.front())) continue;
    heap.push_back(i);
    std::push_heap(heap.begin(), heap.end(), better);
    if (heap.size() <= count) continue;
    std::pop_heap(heap.begin(), heap.end(), better);
    heap.pop_back();
  }
  std::sort_heap(heap.begin(), heap.end(), better);
  return heap;
}

// `count` indices drawn without replacement by softmax(scores): the largest scores after Gumbel
// noise (Efraimidis and Spirakis 2006; Kool et al. 2019).
std::vector<std::size_t> drawn(std::span<const float> scores, std::size_t count,
                               RandomStream& random) {
  std::vector<float> noisy(scores.begin(), scores.end());
  for (float& x : noisy) {
    if (!(x > -std::numeric_limits<float>::infinity())) continue;
    const double u = random.uniform() + 0x1p-54;  // never 0
    x = static_cast<float>(double{x} - std::log(-std::log(u)));
  }
  return top(noisy, count);
}

}  // namespace

BeamSearch::BeamSearch(const GenerateSettings& settings, std::int64_t limit, RandomStream random,
                       Ended ended)
    : settings_(&settings), limit_(limit), random_(random), ended_(std::move(ended)) {
  ensure(limit >= 1, "[beam search] ", limit, " new tokens: expected at least 1");
  const auto n = static_cast<std::size_t>(settings.num_beams);
  // Only the first beam counts in the first step: all are the same prompt.
  running_.assign(n, {.score = penalty});
  running_.front().score = 0;
  finished_.assign(n, {.score = penalty});
  parents_.assign(n, 0);
}

bool BeamSearch::hit(const std::vector<std::int32_t>& tokens) const {
  if (static_cast<std::int64_t>(tokens.size()) >= limit_) return true;
  if (std::ranges::find(settings_->eos, tokens.back()) != settings_->eos.end()) return true;
  return ended_ && ended_(tokens);
}

// The best continuations of all beams: enough of them that, whatever ends by an end token, as many
// as there are beams stay open.
std::vector<BeamSearch::Candidate> BeamSearch::candidates(std::span<const float> scores) {
  const std::size_t beams = running_.size(), vocabulary = scores.size() / beams;
  ensure(vocabulary * beams == scores.size() && vocabulary > 0, "[beam search] ", scores.size(),
         " scores for ", beams, " beams");
  std::vector<float> total(scores.begin(), scores.end());
  for (std::size_t i = 0; i < total.size(); ++i) {
    if (std::isnan(total[i])) fail(Fault::numerical, "[generate] the model gave NaN logits");
    total[i] += running_[i / vocabulary].score;
  }
  const std::size_t count = std::max<std::size_t>(2, 1 + settings_->eos.size()) * beams;
  const auto chosen = settings_->sample ? drawn(total, count, random_) : top(total, count);
  ensure(chosen.size() >= beams, "[beam search] ", beams, " beams need a vocabulary of at least ",
         beams, " tokens, not ", vocabulary);
  std::vector<Candidate> best;
  for (const std::size_t i : chosen) {
    const auto parent = static_cast<std::int32_t>(i / vocabulary);
    Candidate c{.beam = {running_[i / vocabulary].tokens, total[i]}, .parent = parent};
    c.beam.tokens.push_back(static_cast<std::int32_t>(i % vocabulary));
    c.hit = hit(c.beam.tokens);
    best.push_back(std::move(c));
  }
  return best;
}

void BeamSearch::keep_open(const std::vector<Candidate>& best) {
  std::vector<float> scores;
  for (const Candidate& c : best) scores.push_back(c.beam.score + (c.hit ? penalty : 0.0f));
  const auto chosen = top(scores, running_.size());
  for (std::size_t b = 0; b < chosen.size(); ++b) {
    running_[b] = {best[chosen[b]].beam.tokens, scores[chosen[b]]};
    parents_[b] = best[chosen[b]].parent;
  }
}

void BeamSearch::keep_finished(const std::vector<Candidate>& best) {
  const auto complete = [](const Beam& b) { return b.complete; };
  const bool full =
      settings_->early_stopping == EarlyStopping::yes && std::ranges::all_of(finished_, complete);
  const auto divisor =
      static_cast<float>(std::pow(static_cast<double>(length_ + 1), settings_->length_penalty));
  std::vector<Beam> merged = finished_;
  for (std::size_t i = 0; i < best.size(); ++i) {
    // Only what is among the num_beams best when it ends can be an answer.
    const bool ends = best[i].hit && i < finished_.size();
    float score = best[i].beam.score / divisor;
    if (full) score += penalty;
    if (!improvable_) score += penalty;
    if (!ends) score += penalty;
    merged.push_back({best[i].beam.tokens, score, ends});
  }
  std::vector<float> scores;
  for (const Beam& b : merged) scores.push_back(b.score);
  const auto chosen = top(scores, finished_.size());
  for (std::size_t b = 0; b < chosen.size(); ++b) finished_[b] = merged[chosen[b]];
}

// Could the best open beam still beat the worst finished one?
bool BeamSearch::can_improve() const {
  const bool longest =
      settings_->early_stopping == EarlyStopping::never && settings_->length_penalty > 0;
  const auto length = static_cast<double>(longest ? limit_ : length_);
  const float open =
      running_.front().score / static_cast<float>(std::pow(length, settings_->length_penalty));
  float worst = finished_.front().score;
  for (const Beam& b : finished_) worst = std::min(worst, b.score);
  return std::ranges::any_of(finished_,
                             [&](const Beam& b) { return open > (b.complete ? worst : penalty); });
}

void BeamSearch::advance(std::span<const float> scores) {
  ensure(!done_, "[beam search] advanced after its end");
  const std::vector<Candidate> best = candidates(scores);
  keep_open(best);
  keep_finished(best);
  ++length_;
  improvable_ = improvable_ && can_improve();
  const bool full = std::ranges::all_of(finished_, [](const Beam& b) { return b.complete; });
  const bool stuck = std::ranges::all_of(best, [](const Candidate& c) { return c.hit; });
  done_ = !improvable_ || (full && settings_->early_stopping == EarlyStopping::yes) || stuck;
}

}  // namespace quaver
