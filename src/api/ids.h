#pragma once
// Token ids in JSON: a list, or a list of lists.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quaver {

struct IdLists {
  std::vector<std::vector<std::int32_t>> lists;  // never empty
  bool nested = false;                           // a list of lists, not one list
};

// Throws Error(bad_file) that begins with `where` on anything else than lists of ids from 0 to
// 2^31 - 1.
IdLists parse_ids(std::string_view json, std::string_view where);
IdLists read_ids(const std::string& path);

// Throws Error(bad_file) that begins with `where` unless there are ids, all of the vocabulary.
void check_file_ids(std::span<const std::vector<std::int32_t>> lists, std::int64_t vocabulary,
                    std::string_view where);

}  // namespace quaver
