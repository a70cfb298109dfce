#include "models/arch_file.h"

#include <algorithm>
#include <utility>

namespace quaver {
namespace {

// Shows a module under other names.
class Renamer final : public Visitor {
 public:
  Renamer(Visitor& to, const NameMap& names, const ArchFile* quantizes)
      : to_(&to), names_(&names), quantizes_(quantizes) {}

  void parameter(const std::string& name, Tensor& t, const Shape& shape) override {
    (*to_)((*names_)(name), t, shape);
  }
  void linear(const std::string& name, Linear& l) override {
    const std::string own = (*names_)(name);
    if (quantizes_ && !quantizes_->quantizes(own)) l.keep_precision = true;
    (*to_)(own, l);
  }

 private:
  Visitor* to_;
  const NameMap* names_;
  const ArchFile* quantizes_;  // null: all that the base allows
};

class RenamedBlock final : public Block {
 public:
  RenamedBlock(std::unique_ptr<Block> base, std::shared_ptr<const ArchFile> file)
      : base_(std::move(base)), file_(std::move(file)) {}
  void visit(Visitor& v) override {
    Renamer renamer(v, file_->inside(), file_.get());
    base_->visit(renamer);
  }
  Tensor forward(const Tensor& x, Step& step) override { return base_->forward(x, step); }

 private:
  std::unique_ptr<Block> base_;
  std::shared_ptr<const ArchFile> file_;
};

class RenamedEnds final : public Ends {
 public:
  RenamedEnds(std::unique_ptr<Ends> base, std::shared_ptr<const ArchFile> file)
      : base_(std::move(base)), file_(std::move(file)) {}
  void visit(Visitor& v) override {
    Renamer renamer(v, file_->outside(), nullptr);
    base_->visit(renamer);
  }
  std::int64_t position_limit() const override { return base_->position_limit(); }
  Tensor embed(const Tensor& ids, Step& step) override { return base_->embed(ids, step); }
  Tensor norm(const Tensor& x) override { return base_->norm(x); }
  Tensor logits(const Tensor& normed, Step& step) override { return base_->logits(normed, step); }
  Linear* own_head() override { return base_->own_head(); }

 private:
  std::unique_ptr<Ends> base_;
  std::shared_ptr<const ArchFile> file_;
};

// The names of a module's parameters and linears.
class Names final : public Visitor {
 public:
  void parameter(const std::string& name, Tensor&, const Shape&) override { add(all, name); }
  void linear(const std::string& name, Linear&) override {
    add(all, name);
    add(linears, name);
  }
  std::vector<std::string> all, linears;

 private:
  static void add(std::vector<std::string>& names, const std::string& name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
};

// "a.b" is a part of "a.b" and of "a.b.c", not of "a.bc".
bool begins_with(const std::string& name, const std::string& part) {
  return name.starts_with(part) && (name.size() == part.size() || name[part.size()] == '.');
}

std::string module_name(const Json& value, const std::string& where) {
  ensure_file(value.is_string(), where, " holds ", value.dump(), ", expected a module's name");
  const auto name = value.get<std::string>();
  const bool whole = !name.empty() && name.size() <= 512 && name.front() != '.' &&
                     name.back() != '.' && name.find("..") == std::string::npos;
  ensure_file(whole, where, ": '", name, "' is no module's name: expected parts joined by dots");
  return name;
}

NameMap name_map(const Json& file, const char* key, const std::string& where) {
  NameMap names;
  const auto it = file.find(key);
  if (it == file.end()) return names;
  const std::string place = text(where, ": '", key, "'");
  ensure_file(it->is_object(), place, " is not an object of the base's names and the model's own");
  for (const auto& [from, to] : it->items())
    names.set(module_name(Json(from), place), module_name(to, place), place);
  return names;
}

// A list of names, or of lists of names as AutoGPTQ writes them.
std::vector<std::string> module_list(const Json& file, const char* key, const std::string& where) {
  std::vector<std::string> names;
  const auto it = file.find(key);
  if (it == file.end()) return names;
  const std::string place = text(where, ": '", key, "'");
  ensure_file(it->is_array() && !it->empty(), place, " is not a list of module names");
  for (const Json& entry : *it)
    if (entry.is_array())
      for (const Json& name : entry) names.push_back(module_name(name, place));
    else
      names.push_back(module_name(entry, place));
  return names;
}

const Arch* named(const std::string& name, std::span<const Arch* const> rows) {
  for (const Arch* arch : rows)
    if (arch->name == name || arch->model_type == name || (!name.empty() && arch->alias == name))
      return arch;
  return nullptr;
}

const Arch& base_of(const std::string& name, std::span<const Arch* const> own,
                    const std::string& where) {
  if (const Arch* found = named(name, own)) return *found;
  if (const Arch* found = named(name, archs())) return *found;
  std::string known;
  for (const Arch* arch : archs()) known += text(known.empty() ? "" : ", ", arch->model_type);
  fail(Fault::unsupported, where, ": 'base' is '", name, "'; known: ", known);
}

constexpr const char* file_keys[] = {"base",          "architecture",         "layers_block_name",
                                     "inside_names",  "outside_names",        "config_names",
                                     "config_values", "inside_layer_modules", "comment",
                                     "model_type",    "outside_layer_modules"};

void check_keys(const Json& file, const std::string& where) {
  ensure_file(file.is_object(), where, ": expected an object");
  for (const auto& [key, value] : file.items()) {
    std::string known;
    for (const char* k : file_keys) known += text(known.empty() ? "" : ", ", k);
    ensure_file(std::ranges::find(file_keys, key) != std::end(file_keys), where, ": unknown key '",
                key, "'; known: ", known);
  }
}

}  // namespace

void NameMap::set(std::string from, std::string to, std::string_view where) {
  for (const auto& [other, taken] : names_)
    ensure_file(taken != to, where, " gives '", other, "' and '", from, "' the same name, '", to,
                "'");
  names_.emplace(std::move(from), std::move(to));
}

std::string NameMap::operator()(const std::string& name) const {
  for (std::size_t end = name.size(); end > 0; end = name.rfind('.', end - 1)) {
    if (end == std::string::npos) break;
    if (const auto it = names_.find(name.substr(0, end)); it != names_.end())
      return it->second + name.substr(end);
  }
  return name;
}

std::string NameMap::unused(const std::vector<std::string>& names) const {
  for (const auto& [from, to] : names_)
    if (std::ranges::none_of(names, [&](const auto& name) { return begins_with(name, from); }))
      return from;
  return {};
}

std::shared_ptr<const ArchFile> ArchFile::read(const std::filesystem::path& path,
                                               std::span<const Arch* const> own) {
  auto made = std::make_shared<ArchFile>();
  ArchFile& f = *made;
  f.where_ = path.string();
  const Json file = read_json_file(f.where_, {.bytes = 1'000'000, .depth = 8});
  check_keys(file, f.where_);
  f.base_ = &base_of(json_string(file, "base", f.where_), own, f.where_);
  f.name_ = json_string(file, "architecture", f.where_, "");
  f.type_ = json_string(file, "model_type", f.where_, "");
  f.blocks_ = file.contains("layers_block_name")
                  ? module_name(file["layers_block_name"], f.where_ + ": 'layers_block_name'")
                  : std::string(f.base_->blocks);
  f.inside_ = name_map(file, "inside_names", f.where_);
  f.outside_ = name_map(file, "outside_names", f.where_);
  f.inside_modules_ = module_list(file, "inside_layer_modules", f.where_);
  f.outside_modules_ = module_list(file, "outside_layer_modules", f.where_);
  if (const auto it = file.find("config_names"); it != file.end()) {
    ensure_file(it->is_object(), f.where_, ": 'config_names' is not an object");
    for (const auto& [key, value] : it->items()) {
      ensure_file(value.is_string(), f.where_, ": config_names.", key, " is not a string");
      f.keys_[key] = value.get<std::string>();
    }
  }
  f.values_ = file.value("config_values", Json::object());
  ensure_file(f.values_.is_object(), f.where_, ": 'config_values' is not an object");
  f.row_ = *f.base_;
  if (!f.name_.empty()) f.row_.name = f.name_;
  if (!f.type_.empty()) f.row_.model_type = f.type_;
  f.row_.blocks = f.blocks_;
  f.row_.block = [](const Config& c, int layer) -> std::unique_ptr<Block> {
    return std::make_unique<RenamedBlock>(c.arch_file->base().block(c, layer), c.arch_file);
  };
  f.row_.ends = [](const Config& c) -> std::unique_ptr<Ends> {
    return std::make_unique<RenamedEnds>(c.arch_file->base().ends(c), c.arch_file);
  };
  return made;
}

bool ArchFile::describes(const Json& config_json) const {
  if (name_.empty() && type_.empty()) return true;
  const auto names = config_json.find("architectures");
  const bool named = names != config_json.end() && names->is_array() && !names->empty();
  if (named && !name_.empty()) return names->front() == name_;
  return !type_.empty() && json_string(config_json, "model_type", config_file, "") == type_;
}

Config ArchFile::config(std::shared_ptr<const ArchFile> self, const Json& config_json) {
  Json named = config_json;
  for (const auto& [key, own] : self->keys_) {
    const auto it = config_json.find(own);
    ensure_file(it != config_json.end(), config_file, ": no '", own, "', which ", self->where_,
                " names for '", key, "'");
    named[key] = *it;
  }
  for (const auto& [key, value] : self->values_.items()) named[key] = value;
  Config c = self->base_->config(named);
  c.arch_file = std::move(self);
  return c;
}

void ArchFile::check(const Config& config) const {
  Names ends, inside, own_ends, own_inside;
  base_->ends(config)->visit(ends);
  row_.ends(config)->visit(own_ends);
  // Mixtures alternate with plain blocks within a few layers; a config may claim any number.
  for (std::int64_t i = 0; i < std::min<std::int64_t>(config.layers, 64); ++i) {
    base_->block(config, static_cast<int>(i))->visit(inside);
    row_.block(config, static_cast<int>(i))->visit(own_inside);
  }
  const auto list = [](const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
  };
  const std::string inner = inside_.unused(inside.all), outer = outside_.unused(ends.all);
  ensure_file(inner.empty(), where_, ": inside_names has '", inner, "', which a block of ",
              base_->model_type, " lacks; it has ", list(inside.all));
  ensure_file(outer.empty(), where_, ": outside_names has '", outer, "', which ", base_->model_type,
              " lacks; it has ", list(ends.all));
  for (const std::string& name : inside_modules_)
    ensure_file(std::ranges::find(own_inside.linears, name) != own_inside.linears.end(), where_,
                ": inside_layer_modules has '", name,
                "', which is no linear of a block; those are ", list(own_inside.linears));
  for (const std::string& name : outside_modules_)
    ensure_file(
        std::ranges::any_of(own_ends.all, [&](const auto& own) { return begins_with(own, name); }),
        where_, ": outside_layer_modules has '", name,
        "', which is no module outside the blocks; those are ", list(own_ends.all));
}

bool ArchFile::quantizes(const std::string& own_name) const {
  return inside_modules_.empty() ||
         std::ranges::find(inside_modules_, own_name) != inside_modules_.end();
}

FoundArch find_model(const Json& config_json, const ArchSearch& search) {
  if (!search.file.empty()) {
    auto file = ArchFile::read(search.file, search.own);
    if (file->describes(config_json)) {
      const Arch* row = &file->row();
      return {row, ArchFile::config(std::move(file), config_json)};
    }
  }
  const Arch& arch = find_arch(config_json, search.own);
  return {&arch, arch.config(config_json)};
}

}  // namespace quaver
