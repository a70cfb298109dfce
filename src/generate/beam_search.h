#pragma once
// Beam search over one prompt, as transformers 5 does it: the bookkeeping, without a model.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "generate/sampler.h"

namespace quaver {

class BeamSearch {
 public:
  // True if this continuation (new tokens only) ends for another reason than length or end token.
  using Ended = std::function<bool(std::span<const std::int32_t> new_tokens)>;

  // `settings` must outlive the search; `limit` is the number of new tokens at most.
  BeamSearch(const GenerateSettings& settings, std::int64_t limit, RandomStream random,
             Ended ended = {});

  std::int64_t beams() const { return settings_->num_beams; }
  bool done() const { return done_; }
  // New tokens of open beam b.
  const std::vector<std::int32_t>& tokens(std::int64_t b) const {
    return running_[static_cast<std::size_t>(b)].tokens;
  }
  // The open beam, before the last advance(), that open beam b continues.
  std::int32_t parent(std::int64_t b) const { return parents_[static_cast<std::size_t>(b)]; }

  // One step. scores f32 [beams * vocabulary]: processed (and warped) log-probabilities of each
  // open beam's next token. Before the first step all beams are the prompt.
  void advance(std::span<const float> scores);

  // The best finished continuation, or the one after `rank` better ones, the end token included.
  // Call it when done.
  const std::vector<std::int32_t>& best(std::int64_t rank = 0) const {
    return finished_.at(static_cast<std::size_t>(rank)).tokens;
  }
  float best_score() const { return finished_.front().score; }

 private:
  struct Beam {
    std::vector<std::int32_t> tokens;
    float score = 0;
    bool complete = false;
  };
  struct Candidate {
    Beam beam;
    std::int32_t parent = 0;
    bool hit = false;
  };
  std::vector<Candidate> candidates(std::span<const float> scores);
  bool hit(const std::vector<std::int32_t>& tokens) const;
  void keep_open(const std::vector<Candidate>& best);
  void keep_finished(const std::vector<Candidate>& best);
  bool can_improve() const;

  const GenerateSettings* settings_;
  std::int64_t limit_, length_ = 0;
  RandomStream random_;
  Ended ended_;
  std::vector<Beam> running_, finished_;
  std::vector<std::int32_t> parents_;
  bool improvable_ = true, done_ = false;
};

}  // namespace quaver
