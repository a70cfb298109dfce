#include "nn/ends.h"

namespace quaver {
StandardEnds::StandardEnds(Layout layout) : layout_(std::move(layout)) {
  if (layout_.table_width == 0) layout_.table_width = layout_.hidden;
  project_in_ = {.outputs = layout_.hidden, .inputs = layout_.table_width, .keep_precision = true};
  project_out_ = {.outputs = layout_.table_width, .inputs = layout_.hidden, .keep_precision = true};
  head_ = {.outputs = layout_.vocab,
           .inputs = layout_.table_width,
           .has_bias = layout_.head_bias,
           .unit_rows = layout_.unit_head};
}

void StandardEnds::visit(Visitor& v) {
  v(layout_.embedding + ".weight", table_, {layout_.vocab, layout_.table_width});
  if (!layout_.project_in.empty()) v(layout_.project_in, project_in_);
  if (!layout_.project_out.empty()) v(layout_.project_out, project_out_);
  if (!layout_.positions.empty())
    v(layout_.positions + ".weight", positions_, {layout_.position_rows, layout_.hidden});
  v(layout_.embedding_norm, layout_.embedding_norm_kind);
  v(layout_.final_norm, layout_.final_norm_kind);
  if (!layout_.tied_head)
    v(layout_.head, head_);
  else if (layout_.head_bias)
    v(layout_.head + ".bias", head_.bias, {layout_.vocab});
}

std::int64_t StandardEnds::position_limit() const {
  return layout_.positions.empty() ? 0 : layout_.position_rows - layout_.position_offset;
}

Tensor StandardEnds::embed(const Tensor& ids, Step& step) {
  Tensor x = scaled(gather(table_, ids), layout_.embedding_scale);
  if (!layout_.project_in.empty()) x = project_in_(x, step);
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
  const Tensor x = layout_.project_out.empty() ? normed : project_out_(normed, step);
  Tensor y = layout_.tied_head ? linear(x, table_, head_.bias) : head_(x, step);
  y = scaled(y, layout_.logit_scale);
  return layout_.logit_cap > 0 ? map(y, Map::soft_cap, layout_.logit_cap) : y;
}

Linear* StandardEnds::own_head() {
  if (layout_.unit_head) return nullptr;
  if (layout_.tied_head) head_.weight = table_;
  layout_.tied_head = false;
  return &head_;
}

}  // namespace quaver
