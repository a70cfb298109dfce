#include "generate/forward.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "generate/session.h"
#include "ops/ops.h"

namespace quaver {
namespace {

constexpr std::int64_t pass_rows = 4096;                      // rows of one forward pass, about
constexpr std::int64_t logit_bytes = std::int64_t{64} << 20;  // logits formed at a time

// Equal lists with masks, whatever was given.
ForwardInput padded(const ForwardInput& given) {
  ensure(!given.ids.empty(), "[forward] no sequence of ids");
  ensure(given.masks.empty() || given.masks.size() == given.ids.size(), "[forward] ",
         given.masks.size(), " masks for ", given.ids.size(), " sequences");
  ForwardInput in = given;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < in.ids.size(); ++i) {
    ensure(!in.ids[i].empty(), "[forward] sequence ", i, " has no ids");
    ensure(in.masks.empty() || in.masks[i].size() == in.ids[i].size(), "[forward] sequence ", i,
           " has ", in.ids[i].size(), " ids, its mask ", in.masks.empty() ? 0 : in.masks[i].size());
    longest = std::max(longest, in.ids[i].size());
  }
  const auto whole = [&](const auto& ids) { return ids.size() == longest; };
  if (std::ranges::all_of(in.ids, whole)) return in;
  ensure(in.masks.empty(), "[forward] ids of unequal length beside masks");
  for (auto& ids : in.ids) {
    const std::size_t padding = longest - ids.size();
    in.masks.emplace_back(longest, std::uint8_t{1});
    std::fill_n(in.masks.back().begin(), padding, std::uint8_t{0});
    ids.insert(ids.begin(), padding, 0);
  }
  return in;
}

void set_positions(std::span<std::int32_t> positions, std::span<const std::uint8_t> mask,
                   bool from_mask) {
  std::iota(positions.begin(), positions.end(), 0);
  if (!from_mask || mask.empty()) return;
  std::int32_t visible = 0;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    visible += mask[i] != 0;
    positions[i] = mask[i] ? visible - 1 : -1;
  }
}

// Copies f32 [rows, cols] on any device to the rows of [batch, tokens, cols] from `row`.
void place(Tensor& whole, std::int64_t row, const Tensor& part) {
  Tensor flat = whole.reshaped({whole.dim(0) * whole.dim(1), whole.dim(2)});
  copy_rows(flat, row, on_host(part));
}

}  // namespace

ForwardResult forward_logits(Decoder& decoder, const ForwardInput& given, bool hidden,
                             Device device) {
  const ForwardInput in = padded(given);
  const auto batch = static_cast<std::int64_t>(in.ids.size());
  const auto tokens = static_cast<std::int64_t>(in.ids.front().size());
  const Config& config = decoder.config();
  for (const auto& ids : in.ids) check_ids(decoder, ids);
  ForwardResult out{.logits = Tensor::raw({batch, tokens, config.vocab}), .masks = in.masks};
  if (hidden)
    for (int i = 0; i <= decoder.layers(); ++i)
      out.hidden.push_back(Tensor::raw({batch, tokens, config.hidden}));

  const std::int64_t group = std::max<std::int64_t>(1, pass_rows / tokens);
  const std::int64_t chunk = std::clamp<std::int64_t>(logit_bytes / 4 / config.vocab, 1, pass_rows);
  for (std::int64_t first = 0; first < batch; first += group) {
    const std::int64_t count = std::min(group, batch - first), rows = count * tokens;
    Step step;
    step.positions = Tensor::raw({rows}, DType::i32);
    step.device = device;
    Tensor ids = Tensor::raw({rows}, DType::i32);
    for (std::int64_t s = 0; s < count; ++s) {
      const auto i = static_cast<std::size_t>(first + s);
      std::ranges::copy(in.ids[i], ids.data<std::int32_t>().begin() + s * tokens);
      SequenceRows sequence{.rows = tokens};
      std::span<const std::uint8_t> mask;
      if (!in.masks.empty()) {
        mask = in.masks[i];
        sequence.mask = moved_to(Tensor::of(mask, Shape({tokens})), device);
      }
      const auto place_in_step = step.positions.data<std::int32_t>().subspan(
          static_cast<std::size_t>(s * tokens), static_cast<std::size_t>(tokens));
      set_positions(place_in_step, mask, decoder.arch().positions_from_mask);
      step.sequences.push_back(sequence);
    }
    std::vector<Tensor> states;
    const Tensor normed = decoder.forward(moved_to(ids, device), step, hidden ? &states : nullptr);
    for (std::size_t i = 0; i < states.size() && hidden; ++i)
      place(out.hidden.at(i), first * tokens, states[i]);
    for (std::int64_t r = 0; r < rows; r += chunk) {
      const Tensor part = normed.rows(r, std::min(rows, r + chunk));
      place(out.logits, first * tokens + r, decoder.logits(part, step));
    }
  }
  return out;
}

}  // namespace quaver
