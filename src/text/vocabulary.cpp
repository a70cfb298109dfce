#include "text/vocabulary.h"

#include <functional>

namespace quaver::tokens {

std::size_t Vocabulary::slot_of(std::string_view token) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = std::hash<std::string_view>{}(token)&mask;
  while (slots_[slot] != 0 && text(entries_[slots_[slot] - 1]) != token) slot = (slot + 1) & mask;
  return slot;
}

void Vocabulary::grow(std::size_t slots) {
  slots_.assign(slots, 0);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    slots_[slot_of(text(entries_[i]))] = static_cast<std::uint32_t>(i + 1);
  }
}

void Vocabulary::reserve(std::size_t tokens, std::size_t bytes) {
  std::size_t slots = 16;
  while (slots < 2 * tokens) slots *= 2;
  entries_.reserve(tokens);
  characters_.reserve(bytes);
  if (slots > slots_.size()) grow(slots);
}

bool Vocabulary::add(std::string_view token, std::int32_t id) { return insert(token, id, false); }

bool Vocabulary::add_again(std::string_view token, std::int32_t id) {
  return insert(token, id, true);
}

bool Vocabulary::insert(std::string_view token, std::int32_t id, bool again) {
  if (2 * (entries_.size() + 1) > slots_.size()) {
    grow(slots_.empty() ? 16 : 2 * slots_.size());
  }
  const auto place = static_cast<std::size_t>(id);
  if (place < by_id_.size() && by_id_[place] != 0) return false;
  const std::size_t slot = slot_of(token);
  if (slots_[slot] != 0 && !again) return false;
  entries_.push_back({characters_.size(), static_cast<std::uint32_t>(token.size()), id});
  characters_ += token;
  const auto entry = static_cast<std::uint32_t>(entries_.size());
  slots_[slot] = entry;
  if (place >= by_id_.size()) by_id_.resize(place + 1, 0);
  by_id_[place] = entry;
  return true;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return std::nullopt;
  const std::uint32_t entry = slots_[slot_of(token)];
  if (entry == 0) return std::nullopt;
  return entries_[entry - 1].id;
}

std::optional<std::string_view> Vocabulary::token(std::int32_t id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= by_id_.size()) return std::nullopt;
  const std::uint32_t entry = by_id_[static_cast<std::size_t>(id)];
  if (entry == 0) return std::nullopt;
  return text(entries_[entry - 1]);
}

}  // namespace quaver::tokens
