#pragma once
// Token strings and their ids, both ways.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quaver::tokens {

// Ids of any tokenizer file lie below this.
constexpr std::int64_t largest_vocabulary = std::int64_t{1} << 24;

class Vocabulary {
 public:
  // Adds a token. False, and nothing added, if the string or the id is there already.
  // 0 <= id < largest_vocabulary, which the caller has checked.
  bool add(std::string_view token, std::int32_t id);

  // The same where a string may have several ids: `find` gives the last one. False: the id is
  // there.
  bool add_again(std::string_view token, std::int32_t id);

  std::optional<std::int32_t> find(std::string_view token) const;
  std::optional<std::string_view> token(std::int32_t id) const;

  std::int64_t count() const { return static_cast<std::int64_t>(entries_.size()); }
  std::int64_t size() const { return static_cast<std::int64_t>(by_id_.size()); }  // largest id + 1

  void reserve(std::size_t tokens, std::size_t bytes);

 private:
  struct Entry {
    std::size_t begin;
    std::uint32_t length;
    std::int32_t id;
  };
  std::string_view text(const Entry& entry) const {
    return std::string_view(characters_).substr(entry.begin, entry.length);
  }
  std::size_t slot_of(std::string_view token) const;  // its slot, or the empty one where it belongs
  void grow(std::size_t slots);
  bool insert(std::string_view token, std::int32_t id, bool again);

  std::string characters_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> slots_;  // open addressing, a power of two; entry + 1, 0 is empty
  std::vector<std::uint32_t> by_id_;  // entry + 1; 0: no token has this id
};

}  // namespace quaver::tokens
