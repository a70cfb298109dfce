#include "api/ids.h"

#include <limits>

#include "core/error.h"
#include "core/json.h"

namespace quaver {
namespace {

constexpr const char* expected = ", expected a list of token ids or a list of such lists";

std::vector<std::int32_t> read_list(const Json& list, std::string_view where) {
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (const Json& id : list) {
    ensure_file(id.is_number_unsigned() &&
                    id.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max(),
                where, ": got ", id.dump().substr(0, 40), ", expected a token id");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

IdLists from_json(const Json& json, std::string_view where) {
  ensure_file(json.is_array(), where, ": got a JSON ", json.type_name(), expected);
  IdLists ids;
  ids.nested = !json.empty() && json[0].is_array();
  if (!ids.nested) {
    ids.lists.push_back(read_list(json, where));
    return ids;
  }
  for (const Json& list : json) {
    ensure_file(list.is_array(), where, ": lists and ids stand side by side", expected);
    ids.lists.push_back(read_list(list, where));
  }
  return ids;
}

}  // namespace

IdLists parse_ids(std::string_view json, std::string_view where) {
  return from_json(parse_json(json, where), where);
}

void check_file_ids(std::span<const std::vector<std::int32_t>> lists, std::int64_t vocabulary,
                    std::string_view where) {
  ensure_file(!lists.empty(), where, ": holds no ids");
  for (const auto& list : lists) {
    ensure_file(!list.empty(), where, ": a list holds no ids");
    for (const std::int32_t id : list)
      ensure_file(id >= 0 && id < vocabulary, where, ": token id ", id, ", the vocabulary has ",
                  vocabulary);
  }
}

IdLists read_ids(const std::string& path) { return from_json(read_json_file(path), path); }

}  // namespace quaver
