#pragma once
// The values of a template: Python's, as far as templates can see them. Everything but namespaces,
// iterators and the objects below is immutable once made.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace quaver::jinja {

// What one rendering may use. A template is foreign code, so every loop counts steps and everything
// that makes or scans a string or list counts its bytes.
class Budget {
 public:
  Budget(std::int64_t steps, std::int64_t bytes, std::int64_t largest)
      : steps_(steps), bytes_(bytes), steps_limit_(steps), bytes_limit_(bytes), largest_(largest) {}
  void step(std::int64_t count = 1);
  // To be called before a value of `count` bytes is made; one value has at most `largest` bytes.
  void use(std::int64_t count);
  // The same for bytes that are read, or written to what is checked later.
  void scan(std::int64_t count);
  // use(count * size) without overflow; negative counts are free.
  void use_product(std::int64_t count, std::int64_t size);

 private:
  std::int64_t steps_, bytes_;
  std::int64_t steps_limit_, bytes_limit_, largest_;
};

class Value;
struct Object;
class Dict;

struct None {};

// A missing variable or attribute; the message is what using it says.
struct Undefined {
  std::shared_ptr<const std::string> message;
};

struct Text {
  std::string bytes;      // valid UTF-8
  std::int64_t size = 0;  // code points
  bool markup = false;    // marked by `safe` or `escape`: joined text gets escaped
  bool ascii() const { return size == static_cast<std::int64_t>(bytes.size()); }
};

struct Sequence {
  enum class Form { list, tuple, keys, values, items, group };
  Form form = Form::list;
  std::vector<Value> values;
  int depth = 1;  // levels of nested containers, this one included
};

struct Range {
  std::int64_t start = 0, stop = 0, step = 1;
  std::int64_t size() const;
  std::int64_t at(std::int64_t i) const { return start + i * step; }
};

// What generators are to Python: read once. The values are made at once, not when asked for.
struct Iterator {
  std::vector<Value> values;
  std::size_t next = 0;
  int depth = 1;
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, std::int64_t, double,
                            std::shared_ptr<const Text>, std::shared_ptr<const Sequence>,
                            std::shared_ptr<const Dict>, std::shared_ptr<const Range>,
                            std::shared_ptr<Iterator>, std::shared_ptr<Object>>;

  Value() : data_(None{}) {}
  template <class T>
  explicit Value(T data) : data_(std::move(data)) {}
  static Value undefined(std::string message);
  static Value text(std::string bytes, bool markup = false);
  static Value integer(std::int64_t number) { return Value(number); }
  static Value boolean(bool value) { return Value(value); }
  // Throws when the nesting is deeper than containers may be.
  static Value sequence(Sequence::Form form, std::vector<Value> values);
  static Value list(std::vector<Value> values);
  static Value tuple(std::vector<Value> values);
  static Value iterator(std::vector<Value> values);

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data_);
  }
  bool is_undefined() const { return as<Undefined>() != nullptr; }
  bool is_none() const { return as<None>() != nullptr; }
  bool is_number() const { return as<bool>() || as<std::int64_t>() || as<double>(); }
  bool is_integer() const { return as<bool>() || as<std::int64_t>(); }
  // Null when the value is of another type.
  const Text* text() const;
  const Sequence* sequence() const;
  const Dict* dict() const;
  const Range* range() const;
  Iterator* iterator() const;
  Object* object() const;
  const std::shared_ptr<Object>* shared_object() const { return as<std::shared_ptr<Object>>(); }

  std::int64_t whole() const;  // of is_integer(); booleans count as 0 and 1
  double real() const;         // of is_number()
  int depth() const;           // levels of nested containers
  const void* identity() const;

 private:
  Data data_;
};

using Keyword = std::pair<std::string, Value>;

struct Call;

// A thing with behaviour: a function, a bound method, a macro, a loop, a namespace.
struct Object {
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  virtual std::string shown() const { return "<" + type_name() + " object>"; }
  virtual std::optional<Value> attribute(std::string_view) { return std::nullopt; }
  virtual std::optional<Value> item(std::string_view) { return std::nullopt; }
  virtual bool callable() const { return false; }
  // Levels of containers that only this object keeps alive: what it holds falls with it.
  virtual int depth() const { return 0; }
  virtual Value call(Call& arguments);
  virtual void clear() {}  // gives up the values held, which may lead back here
};

// Keys are hashable values in the order of insertion; 1, 1.0 and True are one key, as in Python.
class Dict {
 public:
  using Item = std::pair<Value, Value>;
  void set(const Value& key, Value value);
  const Value* find(const Value& key) const;  // throws when the key is not hashable
  const Value* find(std::string_view key) const;
  const std::vector<Item>& items() const { return items_; }
  int depth() const { return depth_; }

 private:
  std::vector<Item> items_;
  std::unordered_map<std::string, std::size_t> places_;  // by hash_key
  int depth_ = 1;
};

// Equal strings for equal keys; throws on lists, dicts and others that Python cannot hash.
std::string hash_key(const Value& key);

Value make_dict(Dict dict);

bool truth(const Value& value);
bool equal(const Value& a, const Value& b);
// < 0, 0, > 0; 2 when a comparison with NaN has no answer. Throws for types without an order;
// `operation` stands in the message.
int order(const Value& a, const Value& b, std::string_view operation = "<");
bool contains(const Value& container, const Value& item, Budget& budget);

std::string type_name(const Value& value);       // "str", "dict", "NoneType", ...
std::string described_type(const Value& value);  // as messages about undefined attributes say it

// Python's str() and repr().
std::string to_text(const Value& value, Budget& budget);
std::string representation(const Value& value, Budget& budget);
std::string real_representation(double value);

// len(); nullopt for things without a length.
std::optional<std::int64_t> length_of(const Value& value);
bool is_iterable(const Value& value);
// The values a loop would see; iterators are used up.
std::vector<Value> iterate(const Value& value, Budget& budget);

// a.name and a[key], as the sandbox answers: undefined for what is not there.
Value attribute(const Value& from, const std::string& name);
Value item(const Value& from, const Value& key, Budget& budget);
struct SliceBounds {
  std::optional<std::int64_t> start, stop, step;
};
Value slice(const Value& from, const SliceBounds& bounds, Budget& budget);

// Throws Error(bad_argument) with the message of an undefined value.
void require_defined(const Value& value);

}  // namespace quaver::jinja
