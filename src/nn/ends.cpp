#include "nn/ends.h"

namespace quaver {
StandardEnds::StandardEnds(Layout layout) : layout_(std::move(layout)) {
  head_ = {.outputs = layout_.vocab, .inputs = layout_.hidden, .has_bias = layout_.head_bias};
}

void StandardEnds::visit(Visitor& v) {
  v(layout_.embedding + ".weight", table_, {layout_.vocab, layout_.hidden});
  if (!layout_.positions.empty())
    v(layout_.positions + ".weight", positions_, {layout_.position_rows, layout_.hidden});
  v(layout_.embedding_norm, layout_.embedding_norm_kind);
  v(layout_.final_norm, layout_.final_norm_kind);
  if (!layout_.tied_head) v(layout_.head, head_);
}

std::int64_t StandardEnds::position_limit() const {
  return layout_.positions.empty() ? 0 : layout_.position_rows - layout_.position_offset;
}

Tensor StandardEnds::embed(const Tensor& ids, Step& step) {
  Tensor x = scaled(gather(table_, ids), layout_.embedding_scale);
  if (positions_) {
    Tensor rows = Tensor::raw({ids.dim(0)}, DType::i32);
    const auto from = step.positions.data<std::int32_t>();
    const auto to = rows.data<std::int32_t>();
    for (std::size_t i = 0; i < to.size(); ++i) {
      const std::int64_t row = from[i] + layout_.position_offset;
      ensure(row >= 0 && row < layout_.position_rows, "[embed] position ", from[i],
             ": this model has learned positions below ",
             layout_.position_rows - layout_.position_offset);
      to[i] = static_cast<std::int32_t>(row);
    }
    x = x + gather(positions_, rows);
  }
  return layout_.embedding_norm_kind(x);
}

Tensor StandardEnds::norm(const Tensor& x) { return layout_.final_norm_kind(x); }

Tensor StandardEnds::logits(const Tensor& normed, Step& step) {
  Tensor y = layout_.tied_head ? linear(normed, table_) : head_(normed, step);
  y = scaled(y, layout_.logit_scale);
  return layout_.logit_cap > 0 ? map(y, Map::soft_cap, layout_.logit_cap) : y;
}

}  // namespace quaver
