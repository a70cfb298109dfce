#pragma once
// What the DeepSeek families share: attention through a latent vector (MLA, DeepSeek-AI 2024).
#include "models/standard_block.h"

namespace quaver {

// Queries and keys have a part with positions and one without; keys and values come out of one
// small vector a token. Keys with positions are shared by all heads.
class LatentAttention {
 public:
  LatentAttention() = default;
  explicit LatentAttention(const Config& c);
  void visit(Visitor& v);
  Tensor operator()(const Tensor& x, Step& step) const;

 private:
  Tensor queries(const Tensor& x, Step& step) const;

  std::int64_t heads_ = 0, plain_ = 0, turned_ = 0, latent_ = 0;
  bool has_query_latent_ = false;
  Linear q_, q_down_, q_up_, kv_down_, kv_up_, o_;
  RmsNorm q_norm_, kv_norm_;
  SelfAttention core_;
  Rope rope_;
};

class DeepseekBlock final : public Block {
 public:
  DeepseekBlock(const Config& c, std::unique_ptr<Mlp> mlp);
  void visit(Visitor& v) override;
  Tensor forward(const Tensor& x, Step& step) override;

 private:
  RmsNorm attention_norm_, mlp_norm_;
  LatentAttention attention_;
  std::unique_ptr<Mlp> mlp_;
};

Config deepseek_config(const Json& config_json);
// A plain gated MLP in the first layers, then the mixture.
std::unique_ptr<Mlp> deepseek_mlp(const Config& c, int layer, const Experts::Router& router);
std::vector<std::string_view> deepseek_buffers();

}  // namespace quaver
