#pragma once
// Prompt lookup (Saxena 2023): guesses the next tokens from what followed the same words earlier in
// the text. Whoever uses the guess checks it with the model, so it costs or saves time alone.
#include <cstdint>
#include <span>
#include <vector>

namespace quaver {

// Up to `count` tokens that may follow `tokens`: those behind the latest earlier place where the
// last n tokens stand, for the largest n up to `ngram` that has one. Places with `count` tokens
// behind them come before later ones with fewer. Empty: no such place.
std::vector<std::int32_t> looked_up(std::span<const std::int32_t> tokens, std::int64_t ngram,
                                    std::int64_t count);

}  // namespace quaver
