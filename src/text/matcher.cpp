#include "text/matcher.h"

namespace quaver::tokens {

void Matcher::add(std::string_view string, std::int32_t value) {
  const auto fresh = [this](char c) {
    nodes_.push_back({.byte = static_cast<unsigned char>(c)});
    return static_cast<std::int32_t>(nodes_.size() - 1);
  };
  std::int32_t& root = roots_[static_cast<unsigned char>(string[0])];
  if (root < 0) root = fresh(string[0]);
  auto node = static_cast<std::size_t>(root);
  for (const char c : string.substr(1)) {
    std::int32_t child = nodes_[node].child;
    while (child >= 0 &&
           nodes_[static_cast<std::size_t>(child)].byte != static_cast<unsigned char>(c)) {
      child = nodes_[static_cast<std::size_t>(child)].sibling;
    }
    if (child < 0) {
      child = fresh(c);
      nodes_[static_cast<std::size_t>(child)].sibling = nodes_[node].child;
      nodes_[node].child = child;
    }
    node = static_cast<std::size_t>(child);
  }
  nodes_[node].value = value;
}

std::optional<Matcher::Match> Matcher::at(std::string_view text, std::size_t at) const {
  std::optional<Match> best;
  std::int32_t node = roots_[static_cast<unsigned char>(text[at])];
  for (std::size_t end = at + 1; node >= 0; ++end) {
    const Node& here = nodes_[static_cast<std::size_t>(node)];
    if (here.value >= 0) best = Match{at, end, here.value};
    if (end == text.size()) break;
    node = here.child;
    while (node >= 0 &&
           nodes_[static_cast<std::size_t>(node)].byte != static_cast<unsigned char>(text[end])) {
      node = nodes_[static_cast<std::size_t>(node)].sibling;
    }
  }
  return best;
}

std::optional<Matcher::Match> Matcher::next(std::string_view text, std::size_t from) const {
  if (nodes_.empty()) return std::nullopt;
  for (std::size_t place = from; place < text.size(); ++place) {
    if (roots_[static_cast<unsigned char>(text[place])] < 0) continue;
    if (const auto match = at(text, place)) return match;
  }
  return std::nullopt;
}

}  // namespace quaver::tokens
