#include "io/torch_file.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "core/error.h"
#include "io/pickle.h"
#include "io/safetensors_header.h"
#include "io/zip_directory.h"

namespace quaver {
namespace {

constexpr TorchType types[] = {
    {"torch float32", "torch FloatStorage", 4, DType::f32},
    {"torch float16", "torch HalfStorage", 2, DType::f16},
    {"torch bfloat16", "torch BFloat16Storage", 2, DType::bf16},
    {"torch float64", "torch DoubleStorage", 8, DType::f64},
    {"torch int8", "torch CharStorage", 1, DType::i8},
    {"torch uint8", "torch ByteStorage", 1, DType::u8},
    {"torch int16", "torch ShortStorage", 2, DType::i16},
    {"torch int32", "torch IntStorage", 4, DType::i32},
    {"torch int64", "torch LongStorage", 8, DType::i64},
    {"torch bool", "torch BoolStorage", 1, DType::boolean},
    {"torch complex64", "torch ComplexFloatStorage", 8, std::nullopt},
    {"torch complex128", "torch ComplexDoubleStorage", 16, std::nullopt},
    {"torch uint16", "", 2, DType::u16},
    {"torch uint32", "", 4, DType::u32},
    {"torch uint64", "", 8, DType::u64},
    {"torch float8_e4m3fn", "", 1, DType::f8_e4m3fn},
    {"torch float8_e5m2", "", 1, DType::f8_e5m2},
    {"torch float8_e4m3fnuz", "", 1, std::nullopt},
    {"torch float8_e5m2fnuz", "", 1, std::nullopt},
    {"torch float8_e8m0fnu", "", 1, std::nullopt},
};
// Bytes, whose type the tensor tells.
constexpr TorchType untyped = {"untyped", "torch.storage UntypedStorage", 1, DType::u8};

constexpr std::string_view rebuild_v1 = "torch._utils _rebuild_tensor";
constexpr std::string_view rebuild_v2 = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view rebuild_v3 = "torch._utils _rebuild_tensor_v3";
constexpr std::string_view parameter = "torch._utils _rebuild_parameter";
constexpr std::string_view parameter_with_state = "torch._utils _rebuild_parameter_with_state";
constexpr std::string_view functions[] = {rebuild_v1, rebuild_v2, rebuild_v3, parameter,
                                          parameter_with_state};

constexpr std::string_view wrappers[] = {"state_dict", "model_state_dict", "model", "module"};
constexpr std::size_t most_keys_shown = 5;
constexpr std::size_t longest_name = 4096;
constexpr int most_dimensions = 6;

// torch.save before 1.6 begins with a pickle of 0x1950a86a20f9469cfc6c.
constexpr std::string_view legacy_magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
                                        15);
constexpr std::int64_t legacy_version = 1001;

struct Storage {
  const TorchType* type = nullptr;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> begin;  // byte of the file; absent until it is known
};
using Storages = std::map<std::string_view, Storage>;  // by key

// One object that torch.save pickled, and the storages it speaks of.
class TorchObject {
 public:
  TorchObject(Pickle pickle, bool legacy, std::string where)
      : pickle_(std::move(pickle)), where_(std::move(where)) {
    for (const std::uint32_t i : pickle_.persistent) note_storage(at(i), legacy);
  }

  Storages& storages() { return storages_; }
  const PickleValue& root() const { return at(pickle_.root); }
  const PickleValue& at(std::uint32_t index) const { return pickle_.values[index]; }
  const std::string& where() const { return where_; }
  std::vector<TorchTensor> tensors() const;

 private:
  const PickleValue& item(const PickleValue& value, std::size_t i) const {
    return at(value.items[i]);
  }
  const PickleValue& expect(const PickleValue& value, PickleKind kind,
                            std::string_view what) const {
    ensure_file(value.kind == kind, where_, ": ", what, " is a ", name_of(value.kind),
                ", expected a ", name_of(kind));
    return value;
  }
  // Texts that are compared: a long one, mentioned a million times, would take hours.
  std::string_view short_text(const PickleValue& value, std::string_view what) const {
    expect(value, PickleKind::string, what);
    ensure_file(value.text.size() <= longest_name, where_, ": ", what, " of ", value.text.size(),
                " bytes; the limit is ", longest_name);
    return value.text;
  }
  void note_storage(const PickleValue& persistent, bool legacy);
  bool is_tensor(const PickleValue& value) const;
  const PickleValue* wrapped(const PickleValue& dict) const;
  std::string some_keys(const PickleValue& dict) const;
  const PickleValue& state_dict() const;
  bool holds_tensors(const PickleValue& dict) const;
  TorchTensor tensor(std::string_view name, const PickleValue& call) const;
  void set_shape(TorchTensor& tensor, const PickleValue& dims, const PickleValue& strides) const;
  void place(TorchTensor& tensor, const Storage& storage, std::int64_t offset) const;

  Pickle pickle_;
  std::string where_;
  Storages storages_;
};

// Every Python name that may stand in a file of tensors.
std::vector<PickleGlobal> accepted_names() {
  std::vector<PickleGlobal> names = {
      {"torch Size", true}, {"torch device", true}, {untyped.storage, false}};
  for (const std::string_view function : functions) names.push_back({function, true});
  for (const TorchType& type : types) {
    names.push_back({type.name, false});
    if (!type.storage.empty()) names.push_back({type.storage, false});
  }
  return names;
}

// Null if the name is none of a storage, or of an element type.
const TorchType* storage_type(std::string_view global) {
  if (global == untyped.storage) return &untyped;
  const auto* const row = std::ranges::find(types, global, &TorchType::storage);
  return row == std::end(types) ? nullptr : row;
}
const TorchType* element_type(std::string_view global) {
  const auto* const row = std::ranges::find(types, global, &TorchType::name);
  return row == std::end(types) ? nullptr : row;
}

// ("storage", type, key, location, count), before 1.6 with a sixth: a view of another storage.
void TorchObject::note_storage(const PickleValue& persistent, bool legacy) {
  const PickleValue& id = expect(item(persistent, 0), PickleKind::tuple, "what names a storage");
  const std::size_t fields = legacy ? 6 : 5;
  ensure_file(id.items.size() == fields, where_, ": a storage is named by ", id.items.size(),
              " values, expected ", fields);
  const PickleValue& word = expect(item(id, 0), PickleKind::string, "the first word of a storage");
  ensure_file(word.text == "storage", where_, ": found a reference to ", printable(word.text),
              ", expected a storage");
  const PickleValue& global = expect(item(id, 1), PickleKind::global, "the type of a storage");
  const std::string_view key = short_text(item(id, 2), "the key of a storage");
  expect(item(id, 3), PickleKind::string, "the device of a storage");
  const std::int64_t count =
      expect(item(id, 4), PickleKind::integer, "the size of a storage").number;
  Storage storage{.type = storage_type(global.text)};
  ensure_file(storage.type != nullptr, where_, ": storage ", printable(key), " has the type ",
              printable(global.text), ", expected a storage of PyTorch");
  ensure_file(count >= 0 && !__builtin_mul_overflow(static_cast<std::uint64_t>(count),
                                                    storage.type->bytes, &storage.bytes),
              where_, ": storage ", printable(key), " has ", count, " elements of ",
              storage.type->bytes, " bytes");
  if (legacy && item(id, 5).kind != PickleKind::none)
    fail(Fault::unsupported, where_, ": storage ", printable(key),
         " is a view of another one, as PyTorch wrote before 0.4; quaver does not read that");
  const auto [it, is_new] = storages_.emplace(key, storage);
  ensure_file(is_new || (it->second.type == storage.type && it->second.bytes == storage.bytes),
              where_, ": storage ", printable(key), " is both ", it->second.bytes, " bytes of ",
              it->second.type->name, " and ", storage.bytes, " bytes of ", storage.type->name);
}

bool TorchObject::is_tensor(const PickleValue& value) const {
  if (value.kind != PickleKind::call) return false;
  return std::ranges::find(functions, item(value, 0).text) != std::end(functions);
}

bool TorchObject::holds_tensors(const PickleValue& dict) const {
  for (std::size_t i = 1; i < dict.items.size(); i += 2)
    if (is_tensor(item(dict, i))) return true;
  return false;
}

// The dict that stands in `dict` under one of the wrappers' keys; null if there is none.
const PickleValue* TorchObject::wrapped(const PickleValue& dict) const {
  const PickleValue* inner = nullptr;
  std::string_view inner_key;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue &key = item(dict, i), &value = item(dict, i + 1);
    if (key.kind != PickleKind::string || value.kind != PickleKind::dict || value.items.empty() ||
        std::ranges::find(wrappers, key.text) == std::end(wrappers))
      continue;
    ensure_file(inner == nullptr, where_, ": weights may stand under ", printable(inner_key),
                " or ", printable(key.text), "; quaver cannot tell which are meant");
    inner = &value;
    inner_key = key.text;
  }
  return inner;
}

// The first keys of a dict, for a message.
std::string TorchObject::some_keys(const PickleValue& dict) const {
  std::string keys;
  for (std::size_t i = 0; i < std::min(dict.items.size(), 2 * most_keys_shown); i += 2) {
    const PickleValue& key = item(dict, i);
    if (i > 0) keys += ", ";
    keys += key.kind == PickleKind::string ? printable(key.text) : text("a ", name_of(key.kind));
  }
  return keys;
}

const PickleValue& TorchObject::state_dict() const {
  const PickleValue* dict = &expect(root(), PickleKind::dict, "the object in the file");
  // Wrappers come first: tensors may stand beside them, such as a counter of steps. A wrapper in a
  // wrapper is met, {"model": {"state_dict": ...}}; no more.
  for (int depth = 0; depth < 2; ++depth) {
    const PickleValue* const inner = wrapped(*dict);
    if (!inner) break;
    dict = inner;
  }
  ensure_file(dict->items.empty() || holds_tensors(*dict), where_,
              ": a dict without tensors, with the keys ", some_keys(*dict),
              "; expected tensors by name, perhaps under 'state_dict' or 'model'");
  return *dict;
}

std::vector<TorchTensor> TorchObject::tensors() const {
  const PickleValue& dict = state_dict();
  std::vector<std::pair<std::string_view, const PickleValue*>> found;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& value = item(dict, i + 1);
    if (!is_tensor(value)) continue;
    found.emplace_back(short_text(item(dict, i), "the name of a tensor"), &value);
  }
  ensure_file(found.size() <= max_tensors_in_file, where_, ": ", found.size(),
              " tensors, the limit is ", max_tensors_in_file);
  // Before names are copied: the pickle may mention one text a million times.
  std::ranges::sort(found);
  const auto twice = std::ranges::adjacent_find(found, {}, [](const auto& p) { return p.first; });
  if (twice != found.end())
    fail(Fault::bad_file, where_, ": two tensors are called ", printable(twice->first));
  std::vector<TorchTensor> result;
  result.reserve(found.size());
  for (const auto& [name, value] : found) result.push_back(tensor(name, *value));
  return result;
}

// _rebuild_tensor(storage, offset, shape, strides), _v2(..., requires_grad, hooks, metadata = None)
// and _v3(..., requires_grad, hooks, dtype, metadata = None); _rebuild_parameter(one of them,
// requires_grad, hooks).
TorchTensor TorchObject::tensor(std::string_view name, const PickleValue& call) const {
  const std::string what = text("tensor ", printable(name));
  const PickleValue* inner = &call;
  std::string_view function = item(call, 0).text;
  if (function == parameter || function == parameter_with_state) {
    const PickleValue& arguments = item(call, 1);
    ensure_file(!arguments.items.empty() && is_tensor(item(arguments, 0)), where_, ": ", what,
                " is a parameter without a tensor");
    inner = &item(arguments, 0);
    function = item(*inner, 0).text;
    ensure_file(function != parameter && function != parameter_with_state, where_, ": ", what,
                " is a parameter of a parameter");
  }
  const PickleValue& arguments = item(*inner, 1);
  const std::size_t least = function == rebuild_v1 ? 4 : function == rebuild_v2 ? 6 : 7;
  const std::size_t count = arguments.items.size();
  ensure_file(count == least || (count == least + 1 && least > 4), where_, ": ", what, " has ",
              count, " arguments, expected ", least);
  const PickleValue& persistent = expect(item(arguments, 0), PickleKind::persistent, what);
  const Storage& storage = storages_.at(item(item(persistent, 0), 2).text);
  TorchTensor result{.name = std::string(name), .type = storage.type};
  if (function == rebuild_v3)
    result.type = element_type(expect(item(arguments, 6), PickleKind::global, what).text);
  ensure_file(result.type != nullptr && result.type != &untyped, where_, ": ", what,
              " has a dtype that is none");
  set_shape(result, item(arguments, 2), item(arguments, 3));
  place(result, storage,
        expect(item(arguments, 1), PickleKind::integer, "the offset of " + what).number);
  return result;
}

void TorchObject::set_shape(TorchTensor& tensor, const PickleValue& dims,
                            const PickleValue& strides) const {
  const std::string what = text("the shape of tensor ", printable(tensor.name));
  expect(dims, PickleKind::tuple, what);
  expect(strides, PickleKind::tuple, what);
  ensure_file(dims.items.size() == strides.items.size() && dims.items.size() <= most_dimensions,
              where_, ": ", what, " has ", dims.items.size(), " dimensions and ",
              strides.items.size(), " strides, expected as many, at most ", most_dimensions);
  std::array<std::int64_t, most_dimensions> shape{};
  for (std::size_t i = 0; i < dims.items.size(); ++i) {
    shape[i] = expect(item(dims, i), PickleKind::integer, what).number;
    tensor.strides[i] = expect(item(strides, i), PickleKind::integer, what).number;
  }
  tensor.shape = Shape(std::span<const std::int64_t>(shape.data(), dims.items.size()));
}

// Where the tensor lies, with proof that all of it lies inside its storage.
void TorchObject::place(TorchTensor& tensor, const Storage& storage, std::int64_t offset) const {
  const std::string what =
      text(where_, ": tensor ", printable(tensor.name), " of shape ", tensor.shape, ": ");
  const std::uint64_t room = storage.bytes / tensor.type->bytes;  // elements
  ensure_file(offset >= 0, what, "begins at element ", offset, " of its storage");
  std::uint64_t count = 1, last = static_cast<std::uint64_t>(offset), bytes = 0;
  bool fits = true, empty = false;
  for (int i = 0; i < tensor.shape.rank(); ++i) {
    const std::int64_t dim = tensor.shape[i], stride = tensor.strides[static_cast<std::size_t>(i)];
    ensure_file(dim >= 0 && stride >= 0, what, "the stride ", stride, " of dimension ", i,
                ", expected none below 0");
    empty = empty || dim == 0;
    std::uint64_t reach = 0;
    fits = fits && !__builtin_mul_overflow(count, static_cast<std::uint64_t>(dim), &count) &&
           (dim == 0 || !__builtin_mul_overflow(static_cast<std::uint64_t>(dim - 1),
                                                static_cast<std::uint64_t>(stride), &reach)) &&
           !__builtin_add_overflow(last, reach, &last);
  }
  fits = fits && !__builtin_mul_overflow(count, tensor.type->bytes, &bytes) && bytes >> 62 == 0;
  ensure_file(fits, what, "its size or its strides overflow");
  ensure_file(empty || last < room, what, "reaches element ", last, " of a storage of ", room);
  ensure_file(bytes <= std::max(storage.bytes, max_repeated_bytes), what, "takes ", bytes,
              " bytes, its storage has ", storage.bytes);
  tensor.storage_begin = *storage.begin;
  tensor.storage_end = tensor.storage_begin + storage.bytes;
  tensor.begin =
      tensor.storage_begin + (empty ? 0 : static_cast<std::uint64_t>(offset) * tensor.type->bytes);
}

std::span<const std::byte> part(std::span<const std::byte> file, const ZipEntry& entry) {
  return file.subspan(entry.begin, entry.size);
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The archive's one folder, with its slash.
std::string top_folder(const std::vector<ZipEntry>& entries, std::string_view where) {
  constexpr std::string_view pickle = "/data.pkl";
  std::string top;
  for (const ZipEntry& entry : entries) {
    if (!entry.name.ends_with(pickle) || entry.name.find('/') != entry.name.size() - pickle.size())
      continue;
    ensure_file(top.empty(), where, ": two pickles, in ", printable(top), " and ",
                printable(entry.name));
    top = entry.name.substr(0, entry.name.find('/') + 1);
  }
  ensure_file(!top.empty(), where,
              ": a zip archive without data.pkl in a folder, expected one "
              "that torch.save wrote");
  return top;
}

std::vector<TorchTensor> parse_archive(std::span<const std::byte> file, std::string_view where) {
  const std::vector<ZipEntry> entries = read_zip_directory(file, where);
  const std::string top = top_folder(entries, where);
  const auto find = [&](const std::string& name) -> const ZipEntry* {
    const auto it = std::ranges::lower_bound(entries, name, {}, &ZipEntry::name);
    return it != entries.end() && it->name == name ? &*it : nullptr;
  };
  if (find(top + "constants.pkl"))
    fail(Fault::unsupported, where, ": a TorchScript program, expected a file of weights");
  if (const ZipEntry* const order = find(top + "byteorder"))
    if (const std::string_view found = text_of(part(file, *order)); found != "little")
      fail(Fault::unsupported, where, ": ", printable(order->name), " says ", printable(found),
           ", quaver reads little");
  const ZipEntry& pickled = *find(top + "data.pkl");
  const std::string where_pickle = text(where, ": ", printable(pickled.name));
  ensure_file(pickled.size <= max_pickle_bytes, where_pickle, ": ", pickled.size,
              " bytes, the limit is ", max_pickle_bytes);
  Pickle pickle = parse_pickle(part(file, pickled), accepted_names(), where_pickle);
  ensure_file(pickle.bytes == pickled.size, where_pickle, ": ", pickled.size - pickle.bytes,
              " bytes follow the pickle");
  TorchObject object(std::move(pickle), false, where_pickle);
  for (auto& [key, storage] : object.storages()) {
    const std::string name = text(top, "data/", key);
    const ZipEntry* const entry = find(name);
    ensure_file(entry != nullptr, where, ": zip entry ", printable(name),
                " is missing, a storage of ", storage.bytes, " bytes");
    ensure_file(entry->size == storage.bytes, where, ": zip entry ", printable(name), " has ",
                entry->size, " bytes, expected ", storage.bytes);
    storage.begin = entry->begin;
  }
  return object.tensors();
}

// Whether the machine that wrote the file, as far as it says so, had the low byte first.
void check_machine(const Pickle& about, std::string_view where) {
  const PickleValue& dict = about.values[about.root];
  ensure_file(dict.kind == PickleKind::dict, where, ": the third pickle is a ", name_of(dict.kind),
              ", expected a dict about the machine");
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& value = about.values[dict.items[i + 1]];
    if (about.values[dict.items[i]].text != "little_endian") continue;
    if (value.kind != PickleKind::boolean || value.number != 1)
      fail(Fault::unsupported, where, ": little_endian is not true, quaver reads nothing else");
  }
}

// Finds each storage: they follow in the order of the list of keys, an i64 count before each.
void place_storages(TorchObject& object, const Pickle& keys, std::span<const std::byte> file,
                    std::size_t at) {
  const std::string& where = object.where();
  const PickleValue& list = keys.values[keys.root];
  ensure_file(list.kind == PickleKind::list, where, ": the fifth pickle is a ", name_of(list.kind),
              ", expected the list of storages");
  for (const std::uint32_t i : list.items) {
    const PickleValue& key = keys.values[i];
    const auto it = object.storages().find(key.text);
    ensure_file(key.kind == PickleKind::string && it != object.storages().end(), where,
                ": the list of storages has ", printable(key.text), ", which no tensor uses");
    Storage& storage = it->second;
    ensure_file(!storage.begin, where, ": storage ", printable(key.text), " is listed twice");
    ensure_file(file.size() - at >= 8, where, ": the file ends before storage ",
                printable(key.text), " (is it truncated?)");
    std::uint64_t count = 0, bytes = 0;
    for (std::size_t b = 8; b-- > 0;)
      count = count << 8 | std::to_integer<std::uint64_t>(file[at + b]);
    at += 8;
    ensure_file(
        !__builtin_mul_overflow(count, storage.type->bytes, &bytes) && bytes == storage.bytes,
        where, ": storage ", printable(key.text), " has ", count, " elements of ",
        storage.type->bytes, " bytes, expected ", storage.bytes, " bytes");
    ensure_file(bytes <= file.size() - at, where, ": storage ", printable(key.text), " of ", bytes,
                " bytes at byte ", at, " ends beyond the file (is it truncated?)");
    storage.begin = at;
    at += bytes;
  }
  for (const auto& [key, storage] : object.storages())
    ensure_file(storage.begin.has_value(), where, ": storage ", printable(key),
                " is not in the list of storages");
  ensure_file(at == file.size(), where, ": ", file.size() - at, " bytes follow the last storage");
}

std::vector<TorchTensor> parse_legacy(std::span<const std::byte> file, std::string_view where) {
  std::size_t at = legacy_magic.size();
  const std::vector<PickleGlobal> names = accepted_names();
  const auto next = [&](const char* what) {
    Pickle pickle = parse_pickle(file.subspan(at), names, text(where, ": ", what));
    at += pickle.bytes;
    return pickle;
  };
  const Pickle version = next("the version");
  const PickleValue& number = version.values[version.root];
  if (number.kind != PickleKind::integer || number.number != legacy_version)
    fail(Fault::unsupported, where, ": version ", number.number,
         " of PyTorch's old format, quaver "
         "reads ",
         legacy_version);
  check_machine(next("about the machine"), where);
  TorchObject object(next("the object"), true, std::string(where));
  const Pickle keys = next("the list of storages");
  place_storages(object, keys, file, at);
  return object.tensors();
}

}  // namespace

bool TorchTensor::is_dense() const {
  if (shape.size() == 0) return true;
  std::int64_t expected = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] == 1) continue;
    if (strides[static_cast<std::size_t>(i)] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::vector<TorchTensor> parse_torch_file(std::span<const std::byte> file, std::string_view where) {
  if (is_zip(file)) return parse_archive(file, where);
  ensure_file(text_of(file.first(std::min(file.size(), legacy_magic.size()))) == legacy_magic,
              where,
              ": neither a zip archive nor PyTorch's older format, expected a file that "
              "torch.save wrote");
  return parse_legacy(file, where);
}

}  // namespace quaver
