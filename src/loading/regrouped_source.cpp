#include "loading/regrouped_source.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "core/error.h"
#include "io/safetensors_header.h"

namespace quaver {
namespace {

// A linear whose outputs are those of its parts, one after another. (Families that mix the outputs
// of q, k and v head by head are not told by these names.)
struct Fusion {
  std::string_view whole;
  std::array<std::string_view, 3> parts;
};
constexpr std::array fusions = {Fusion{"qkv_proj", {"q_proj", "k_proj", "v_proj"}},
                                Fusion{"W_pack", {"q_proj", "k_proj", "v_proj"}},
                                Fusion{"gate_up_proj", {"gate_proj", "up_proj"}}};

// A tensor of a linear, and where its outputs run.
struct Ending {
  std::string_view name;
  enum class Along : std::uint8_t { first, last, nowhere } outputs;
};
constexpr std::array endings = {
    Ending{"weight", Ending::Along::first}, Ending{"bias", Ending::Along::first},
    Ending{"qweight", Ending::Along::last}, Ending{"qzeros", Ending::Along::last},
    Ending{"scales", Ending::Along::last},  Ending{"g_idx", Ending::Along::nowhere}};

bool has_module(const TensorSource& source, const std::string& module) {
  return source.find(module + ".weight") || source.find(module + ".qweight");
}

// [.., begin .. end] of the last dimension.
Tensor cut_columns(const Tensor& t, std::int64_t begin, std::int64_t end) {
  const std::int64_t rows = t.size() / std::max<std::int64_t>(t.dim(-1), 1);
  Tensor part = Tensor::raw({rows, end - begin}, t.dtype());
  const std::size_t size = size_of(t.dtype());
  const std::size_t wide = static_cast<std::size_t>(t.dim(-1)) * size;
  const std::size_t width = static_cast<std::size_t>(end - begin) * size;
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r)
    std::memcpy(part.host() + r * width,
                t.host() + r * wide + static_cast<std::size_t>(begin) * size, width);
  return part;
}

// A tensor of the family's: a cut of one stored tensor, or several in a row.
struct Piece {
  TensorInfo info;
  std::vector<std::string> stored;
  Ending::Along outputs = Ending::Along::nowhere;
  std::int64_t begin = 0, end = 0;  // of a cut
};

class RegroupedSource final : public TensorSource {
 public:
  RegroupedSource(std::unique_ptr<TensorSource> source, std::map<std::string, Piece> pieces,
                  const std::map<std::string, bool>& replaced)
      : source_(std::move(source)), pieces_(std::move(pieces)) {
    for (const TensorInfo& info : source_->tensors())
      if (!replaced.contains(info.name)) infos_.push_back(info);
    for (const auto& [name, piece] : pieces_) infos_.push_back(piece.info);
    std::ranges::sort(infos_, {}, &TensorInfo::name);
  }

  std::span<const TensorInfo> tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto it = std::ranges::lower_bound(
        infos_, name, {}, [](const TensorInfo& info) { return std::string_view(info.name); });
    return it != infos_.end() && it->name == name ? &*it : nullptr;
  }
  Tensor read(std::string_view name) const override {
    const auto found = pieces_.find(std::string(name));
    if (found == pieces_.end()) return source_->read(name);
    const Piece& piece = found->second;
    return piece.stored.size() == 1 ? cut(piece) : joined(piece);
  }

 private:
  Tensor cut(const Piece& piece) const {
    const Tensor whole = source_->read(piece.stored.front());
    if (piece.outputs == Ending::Along::nowhere) return whole;
    if (piece.outputs == Ending::Along::first) return whole.rows(piece.begin, piece.end);
    return cut_columns(whole, piece.begin, piece.end).reshaped(piece.info.shape);
  }

  Tensor joined(const Piece& piece) const {
    std::vector<Tensor> parts;
    for (const std::string& name : piece.stored) parts.push_back(source_->read(name));
    if (piece.outputs == Ending::Along::nowhere) {
      for (const Tensor& part : parts)
        if (std::memcmp(part.host(), parts[0].host(), part.bytes()) != 0)
          fail(Fault::unsupported, printable(piece.info.name),
               ": its parts differ, so that they cannot be joined to one linear");
      return parts[0];
    }
    const bool first = piece.outputs == Ending::Along::first;
    const std::int64_t rows = first ? 1 : piece.info.shape[0];
    Tensor whole = Tensor::raw(piece.info.shape, piece.info.dtype);
    std::byte* out = whole.host();
    for (std::int64_t r = 0; r < rows; ++r)
      for (const Tensor& part : parts) {
        const std::size_t bytes = part.bytes() / static_cast<std::size_t>(rows);
        std::memcpy(out, part.host() + static_cast<std::size_t>(r) * bytes, bytes);
        out += bytes;
      }
    return whole;
  }

  std::unique_ptr<TensorSource> source_;
  std::map<std::string, Piece> pieces_;  // by the family's name
  std::vector<TensorInfo> infos_;        // sorted by name
};

// Finds what to cut and join.
class Planner {
 public:
  Planner(const TensorSource& source, const std::map<std::string, std::int64_t>& outputs)
      : source_(source), outputs_(outputs) {
    for (const auto& [module, count] : outputs)
      if (!has_module(source, module)) place(module, count);
  }

  std::map<std::string, Piece> pieces;
  std::map<std::string, bool> replaced;  // names of the file
  std::map<std::string, std::string> stored;

 private:
  void place(const std::string& module, std::int64_t count) {
    const std::size_t dot = module.rfind('.');
    const std::string before = dot == std::string::npos ? "" : module.substr(0, dot + 1);
    const std::string last = module.substr(before.size());
    for (const Fusion& fusion : fusions) {
      std::vector<std::string> parts;
      for (const std::string_view part : fusion.parts)
        if (!part.empty()) parts.push_back(before + std::string(part));
      const auto in_file = [&](const std::string& name) { return has_module(source_, name); };
      if (last == fusion.whole && std::ranges::all_of(parts, in_file)) return join(module, parts);
      const std::string whole = before + std::string(fusion.whole);
      if (std::ranges::find(parts, module) != parts.end() && in_file(whole) &&
          std::ranges::all_of(parts, [&](const auto& p) { return outputs_.contains(p); }))
        return cut(module, count, whole, parts);
    }
  }

  void cut(const std::string& module, std::int64_t count, const std::string& whole,
           const std::vector<std::string>& parts) {
    std::int64_t total = 0, begin = 0;
    for (const std::string& part : parts) {
      if (part == module) begin = total;
      // Products of two of these fit.
      const std::int64_t more = outputs_.at(part);
      ensure_file(more > 0 && more < std::int64_t{1} << 28, printable(part), ": ", more,
                  " outputs");
      total += more;
    }
    stored[module] = whole;
    for (const Ending& ending : endings) {
      const TensorInfo* info = source_.find(text(whole, '.', ending.name));
      if (!info) continue;
      Piece piece{.info = *info, .stored = {info->name}, .outputs = ending.outputs};
      piece.info.name = text(module, '.', ending.name);
      if (ending.outputs != Ending::Along::nowhere) {
        const int rank = info->shape.rank();
        const int axis = ending.outputs == Ending::Along::first ? 0 : rank - 1;
        const std::int64_t size = rank > 0 ? info->shape[axis] : 0;
        ensure_file(rank > 0 && rank <= 2 && total > 0 && size < std::int64_t{1} << 32 &&
                        begin * size % total == 0 && count * size % total == 0,
                    "tensor ", printable(info->name), " of shape ", info->shape,
                    " cannot be cut into ", parts.size(), " linears of ", total, " outputs in all");
        piece.begin = begin * size / total;
        piece.end = piece.begin + count * size / total;
        const std::int64_t width = piece.end - piece.begin;
        piece.info.shape = rank == 1   ? Shape({width})
                           : axis == 0 ? Shape({width, info->shape[1]})
                                       : Shape({info->shape[0], width});
      }
      replaced[info->name] = true;
      pieces.emplace(piece.info.name, std::move(piece));
    }
  }

  void join(const std::string& module, const std::vector<std::string>& parts) {
    stored[module] = parts.front();
    for (const Ending& ending : endings) {
      const TensorInfo* first = source_.find(text(parts.front(), '.', ending.name));
      if (!first) continue;
      Piece piece{.info = *first, .stored = {}, .outputs = ending.outputs};
      piece.info.name = text(module, '.', ending.name);
      const int rank = first->shape.rank();
      const int axis = ending.outputs == Ending::Along::first ? 0 : rank - 1;
      std::int64_t size = 0;
      for (const std::string& part : parts) {
        const TensorInfo* info = source_.find(text(part, '.', ending.name));
        const bool alike =
            info && info->dtype == first->dtype && info->shape.rank() == rank && rank > 0 &&
            rank <= 2 && (rank == 1 || info->shape[1 - axis] == first->shape[1 - axis]) &&
            (ending.outputs != Ending::Along::nowhere || info->shape == first->shape);
        if (!alike)
          fail(Fault::unsupported, printable(module), ": the file has its parts apart, and ",
               printable(text(part, '.', ending.name)), " is not like ", printable(first->name),
               ", so that they cannot be joined to one linear");
        size += info->shape[axis];
        piece.stored.push_back(info->name);
        replaced[info->name] = true;
      }
      if (ending.outputs != Ending::Along::nowhere)
        piece.info.shape = rank == 1   ? Shape({size})
                           : axis == 0 ? Shape({size, first->shape[1]})
                                       : Shape({first->shape[0], size});
      pieces.emplace(piece.info.name, std::move(piece));
    }
  }

  const TensorSource& source_;
  const std::map<std::string, std::int64_t>& outputs_;
};

}  // namespace

Regrouped regrouped(std::unique_ptr<TensorSource> source,
                    const std::map<std::string, std::int64_t>& outputs) {
  Planner plan(*source, outputs);
  if (plan.pieces.empty()) return {std::move(source), {}};
  return {
      std::make_unique<RegroupedSource>(std::move(source), std::move(plan.pieces), plan.replaced),
      std::move(plan.stored)};
}

}  // namespace quaver
