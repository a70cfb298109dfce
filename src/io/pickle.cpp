#include "io/pickle.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

constexpr std::string_view ordered_dict = "collections OrderedDict";
constexpr int accepted_protocol = 2;
constexpr std::size_t longest_global = 256;
constexpr std::uint32_t unset = std::numeric_limits<std::uint32_t>::max();

// The names that pickletools.py gives them.
enum Opcode : std::uint8_t {
  op_mark = '(',
  op_stop = '.',
  op_binfloat = 'G',
  op_binint = 'J',
  op_binint1 = 'K',
  op_binint2 = 'M',
  op_none = 'N',
  op_binpersid = 'Q',
  op_reduce = 'R',
  op_short_binstring = 'U',
  op_binunicode = 'X',
  op_empty_list = ']',
  op_append = 'a',
  op_build = 'b',
  op_global = 'c',
  op_appends = 'e',
  op_binget = 'h',
  op_long_binget = 'j',
  op_binput = 'q',
  op_long_binput = 'r',
  op_setitem = 's',
  op_tuple = 't',
  op_setitems = 'u',
  op_empty_tuple = ')',
  op_empty_dict = '}',
  op_proto = 0x80,
  op_tuple1 = 0x85,
  op_tuple2 = 0x86,
  op_tuple3 = 0x87,
  op_newtrue = 0x88,
  op_newfalse = 0x89,
  op_long1 = 0x8a,
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::span<const PickleGlobal> allowed,
          std::string_view where)
      : bytes_(bytes), allowed_(allowed), where_(where) {}

  Pickle run() {
    if (take() != op_proto) refuse("a pickle of protocol 2 begins with \\x80\\x02");
    if (const unsigned protocol = take(); protocol != accepted_protocol)
      unsupported("protocol ", protocol, ", quaver reads protocol ", accepted_protocol,
                  ", which torch.save writes by default");
    for (std::size_t steps = 0;; ++steps) {
      if (steps == max_pickle_steps) refuse("more than ", max_pickle_steps, " operations");
      step_at_ = at_;
      const unsigned opcode = take();
      if (opcode == op_stop) break;
      if (!constant(opcode) && !memo(opcode) && !container(opcode) && !outside(opcode))
        unsupported("the operation ", printable(text_at(step_at_, 1)),
                    ", which no tensor needs; quaver does not execute pickles");
    }
    out_.root = pop();
    if (!stack_.empty() || !marks_.empty()) refuse("the pickle ends with more than one value");
    out_.bytes = at_;
    return std::move(out_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Fault::bad_file, where_, ": pickle, byte ", step_at_, ": ", parts...);
  }
  template <class... Parts>
  [[noreturn]] void unsupported(const Parts&... parts) const {
    fail(Fault::unsupported, where_, ": pickle, byte ", step_at_, ": ", parts...);
  }

  std::string_view text_at(std::size_t at, std::size_t size) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + at, size};
  }
  void need(std::uint64_t count) const {
    if (count > bytes_.size() - at_)
      refuse(count, " bytes are needed at byte ", at_, " of ", bytes_.size(),
             " (is it truncated?)");
  }
  unsigned take() { return static_cast<unsigned>(number(1)); }
  std::uint64_t number(unsigned width) {  // little-endian
    need(width);
    std::uint64_t value = 0;
    for (unsigned i = 0; i < width; ++i)
      value |= std::to_integer<std::uint64_t>(bytes_[at_ + i]) << 8 * i;
    at_ += width;
    return value;
  }
  std::string_view text(std::uint64_t size) {
    need(size);
    const std::string_view found = text_at(at_, size);
    at_ += size;
    if (!is_utf8(found)) refuse("a text that is not UTF-8");
    return found;
  }
  // Text up to a line feed, which is taken as well.
  std::string_view line() {
    const std::string_view rest = text_at(at_, std::min(bytes_.size() - at_, longest_global + 1));
    const std::size_t size = rest.find('\n');
    if (size == std::string_view::npos)
      refuse("no line ends within ", longest_global, " bytes of byte ", at_);
    at_ += size + 1;
    return rest.substr(0, size);
  }

  void push(PickleValue value) {
    out_.values.push_back(std::move(value));
    stack_.push_back(static_cast<std::uint32_t>(out_.values.size() - 1));
  }
  void push(PickleKind kind, std::int64_t number) { push({.kind = kind, .number = number}); }
  // Where the values of the innermost open sequence begin; nothing below belongs to it.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::uint32_t pop() {
    if (stack_.size() <= floor()) refuse("a value is taken from an empty stack");
    const std::uint32_t top = stack_.back();
    stack_.pop_back();
    return top;
  }
  std::vector<std::uint32_t> pop(std::size_t count) {
    if (stack_.size() - floor() < count) refuse("values are taken from an empty stack");
    std::vector<std::uint32_t> top(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return top;
  }
  std::vector<std::uint32_t> pop_to_mark() {
    if (marks_.empty()) refuse("a sequence ends that did not begin");
    std::vector<std::uint32_t> top = pop(stack_.size() - marks_.back());
    marks_.pop_back();
    return top;
  }
  PickleValue& top(PickleKind kind, const char* what) {
    if (stack_.size() <= floor()) refuse(what, " for an empty stack");
    PickleValue& value = out_.values[stack_.back()];
    if (value.kind != kind)
      refuse(what, " for a ", name_of(value.kind), ", expected a ", name_of(kind));
    return value;
  }

  bool constant(unsigned opcode) {
    switch (opcode) {
      case op_none:
        push({});
        break;
      case op_newtrue:
        push(PickleKind::boolean, 1);
        break;
      case op_newfalse:
        push(PickleKind::boolean, 0);
        break;
      case op_binint:
        push(PickleKind::integer, static_cast<std::int32_t>(number(4)));
        break;
      case op_binint1:
        push(PickleKind::integer, static_cast<std::int64_t>(number(1)));
        break;
      case op_binint2:
        push(PickleKind::integer, static_cast<std::int64_t>(number(2)));
        break;
      case op_long1:
        long_integer();
        break;
      case op_binfloat:
        number(8);  // its value
        push({.kind = PickleKind::real});
        break;
      case op_short_binstring:
        push({.kind = PickleKind::string, .text = text(number(1))});
        break;
      case op_binunicode:
        push({.kind = PickleKind::string, .text = text(number(4))});
        break;
      default:
        return false;
    }
    return true;
  }
  // Two's complement of any length; sizes and offsets have at most 8 bytes.
  void long_integer() {
    const unsigned width = take();
    if (width > 8) refuse("a whole number of ", width, " bytes; the limit is 8");
    std::uint64_t value = number(width);
    if (width > 0 && width < 8 && (value >> (8 * width - 1) & 1) != 0)
      value |= ~std::uint64_t{0} << 8 * width;
    push(PickleKind::integer, static_cast<std::int64_t>(value));
  }

  bool memo(unsigned opcode) {
    switch (opcode) {
      case op_binput:
        remember(number(1));
        break;
      case op_long_binput:
        remember(number(4));
        break;
      case op_binget:
        recall(number(1));
        break;
      case op_long_binget:
        recall(number(4));
        break;
      default:
        return false;
    }
    return true;
  }
  void remember(std::uint64_t index) {
    // Indices count values, each of which has at least a byte.
    const std::size_t limit = std::min(max_pickle_steps, bytes_.size());
    if (index >= limit) refuse("the memo has the index ", index, "; the limit is ", limit);
    if (stack_.size() <= floor()) refuse("nothing is there to remember");
    if (index >= memo_.size()) memo_.resize(index + 1, unset);
    memo_[index] = stack_.back();
  }
  void recall(std::uint64_t index) {
    if (index >= memo_.size() || memo_[index] == unset) refuse("the memo holds nothing at ", index);
    stack_.push_back(memo_[index]);
  }

  bool container(unsigned opcode) {
    switch (opcode) {
      case op_mark:
        marks_.push_back(stack_.size());
        break;
      case op_empty_tuple:
        push({.kind = PickleKind::tuple});
        break;
      case op_empty_list:
        push({.kind = PickleKind::list});
        break;
      case op_empty_dict:
        push({.kind = PickleKind::dict});
        break;
      case op_tuple:
        push({.kind = PickleKind::tuple, .items = pop_to_mark()});
        break;
      case op_tuple1:
      case op_tuple2:
      case op_tuple3:
        push({.kind = PickleKind::tuple, .items = pop(opcode - op_tuple1 + 1)});
        break;
      case op_append:
        extend(pop(1), PickleKind::list, "APPEND");
        break;
      case op_appends:
        extend(pop_to_mark(), PickleKind::list, "APPENDS");
        break;
      case op_setitem:
        extend(pop(2), PickleKind::dict, "SETITEM");
        break;
      case op_setitems:
        extend(pop_to_mark(), PickleKind::dict, "SETITEMS");
        break;
      default:
        return false;
    }
    return true;
  }
  void extend(const std::vector<std::uint32_t>& items, PickleKind kind, const char* what) {
    PickleValue& value = top(kind, what);
    if (kind == PickleKind::dict && items.size() % 2 != 0)
      refuse(what, " with a key that has no value");
    value.items.insert(value.items.end(), items.begin(), items.end());
  }

  // What in Python reaches beyond the pickle.
  bool outside(unsigned opcode) {
    switch (opcode) {
      case op_global:
        global();
        break;
      case op_reduce:
        call();
        break;
      case op_build:
        pop();
        top(PickleKind::dict, "BUILD");
        break;
      case op_binpersid: {
        const std::uint32_t id = pop();
        push({.kind = PickleKind::persistent, .items = {id}});
        out_.persistent.push_back(stack_.back());
        break;
      }
      default:
        return false;
    }
    return true;
  }
  void global() {
    const std::string_view module = line(), name = line();
    // The bytes hold "module\nname\n"; the list has a space in the middle.
    const auto is_it = [&](std::string_view row) {
      return row.size() == module.size() + 1 + name.size() && row.starts_with(module) &&
             row[module.size()] == ' ' && row.ends_with(name);
    };
    if (is_it(ordered_dict)) return push({.kind = PickleKind::global, .text = ordered_dict});
    const auto row = std::ranges::find_if(allowed_, is_it, &PickleGlobal::name);
    if (row == allowed_.end())
      unsupported("the Python name ", printable(quaver::text(module, '.', name)),
                  ", which no tensor needs; quaver does not execute pickles");
    push({.kind = PickleKind::global, .text = row->name});
  }
  void call() {
    const std::uint32_t arguments = pop(), callee = pop();
    const PickleValue& function = out_.values[callee];
    if (function.kind != PickleKind::global)
      refuse("a call of a ", name_of(function.kind), ", expected a function");
    if (out_.values[arguments].kind != PickleKind::tuple)
      refuse("the arguments of a call are a ", name_of(out_.values[arguments].kind),
             ", expected a tuple");
    if (function.text == ordered_dict) return make_dict(out_.values[arguments]);
    const auto row = std::ranges::find(allowed_, function.text, &PickleGlobal::name);
    if (row == allowed_.end() || !row->callable)
      unsupported("a call of ", printable(function.text), ", which is not a function");
    push({.kind = PickleKind::call, .items = {callee, arguments}});
  }
  // OrderedDict() or, from Python 2, OrderedDict([[key, value], ...]).
  void make_dict(const PickleValue& arguments) {
    PickleValue dict{.kind = PickleKind::dict};
    if (arguments.items.size() > 1) refuse("OrderedDict with ", arguments.items.size(), " values");
    for (const std::uint32_t list : arguments.items) {
      if (out_.values[list].kind != PickleKind::list)
        refuse("OrderedDict of a ", name_of(out_.values[list].kind), ", expected a list of pairs");
      for (const std::uint32_t i : out_.values[list].items) {
        const PickleValue& pair = out_.values[i];
        if ((pair.kind != PickleKind::list && pair.kind != PickleKind::tuple) ||
            pair.items.size() != 2)
          refuse("OrderedDict of something that is not a pair");
        // The same list may be the argument of many calls: copies are counted.
        if (++copied_pairs_ > max_pickle_steps)
          refuse("more than ", max_pickle_steps, " pairs in calls of OrderedDict");
        dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
      }
    }
    push(std::move(dict));
  }

  std::span<const std::byte> bytes_;
  std::span<const PickleGlobal> allowed_;
  std::string_view where_;
  std::size_t at_ = 0, step_at_ = 0, copied_pairs_ = 0;
  Pickle out_;
  std::vector<std::uint32_t> stack_, memo_;  // indices of values
  std::vector<std::size_t> marks_;           // sizes of the stack where sequences began
};

}  // namespace

std::string_view name_of(PickleKind kind) {
  constexpr std::string_view names[] = {"None", "bool", "whole number", "float", "text",   "tuple",
                                        "list", "dict", "name",         "call",  "storage"};
  return names[static_cast<int>(kind)];
}

Pickle parse_pickle(std::span<const std::byte> bytes, std::span<const PickleGlobal> allowed,
                    std::string_view where) {
  return Machine(bytes.first(std::min(bytes.size(), max_pickle_bytes)), allowed, where).run();
}

}  // namespace quaver
