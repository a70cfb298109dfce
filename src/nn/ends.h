#pragma once
// The usual ends of a decoder: token (and position) embedding, final norm, head.
#include <string>

#include "nn/module.h"

namespace quaver {

// The fields are data, so that a family only fills in names and sizes.
class StandardEnds final : public Ends {
 public:
  struct Layout {
    std::int64_t hidden = 0, vocab = 0;
    std::string embedding;             // module name, e.g. "model.embed_tokens"
    std::string positions;             // learned positions; empty: none
    std::int64_t position_rows = 0;    // rows of that table
    std::int64_t position_offset = 0;  // added to each position (OPT: 2)
    float embedding_scale = 1;         // of the token embeddings
    // Tables of another width than the blocks' (OPT-350M): linears from and to it.
    std::int64_t table_width = 0;  // 0: hidden, without such linears
    std::string project_in, project_out;
    std::string embedding_norm;
    Norm embedding_norm_kind;
    std::string final_norm;
    Norm final_norm_kind;
    std::string head;  // module name, e.g. "lm_head"
    bool head_bias = false;
    bool tied_head = false;  // the head shows the embedding table
    bool unit_head = false;  // its rows are divided by their lengths (Baichuan 2)
    float logit_scale = 1;
    float logit_cap = 0;  // logits become cap * tanh(logit / cap); 0: not
  };
  explicit StandardEnds(Layout layout);

  void visit(Visitor& v) override;
  std::int64_t position_limit() const override;
  Tensor embed(const Tensor& ids, Step& step) override;
  Tensor norm(const Tensor& x) override;
  Tensor logits(const Tensor& normed, Step& step) override;
  Linear* own_head() override;

 private:
  Layout layout_;
  Tensor table_, positions_;
  Linear project_in_, project_out_, head_;
};

}  // namespace quaver
