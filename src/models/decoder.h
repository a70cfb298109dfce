#pragma once
// A whole model: ends and blocks, and how a step runs through them.
#include <memory>
#include <vector>

#include "models/arch.h"

namespace quaver {

class Decoder {
 public:
  // Parameters are empty until a visitor fills them.
  Decoder(const Arch& arch, Config config);

  const Arch& arch() const { return *arch_; }
  const Config& config() const { return config_; }
  Ends& ends() { return *ends_; }
  const Ends& ends() const { return *ends_; }
  Block& block(int i) { return *blocks_[static_cast<std::size_t>(i)]; }
  int layers() const { return static_cast<int>(blocks_.size()); }

  // All parameters under their checkpoint names.
  void visit(Visitor& v);
  std::string block_name(int i) const;  // "model.layers.3"

  // ids i32 [rows] -> the final norm's output f32 [rows, hidden]; `hidden`, if given, gets the
  // embedding and the output of every block, the last one after the final norm.
  Tensor forward(const Tensor& ids, Step& step, std::vector<Tensor>* hidden = nullptr);
  Tensor logits(const Tensor& normed, Step& step) { return ends_->logits(normed, step); }

  // An empty cache for one sequence, which has room for `capacity` tokens before it grows.
  KvCache new_cache(std::int64_t capacity) const;

 private:
  const Arch* arch_;
  Config config_;
  std::unique_ptr<Ends> ends_;
  std::vector<std::unique_ptr<Block>> blocks_;
};

// The bytes of every parameter, moved. Afterwards steps with this device run there.
void move_to(Decoder& decoder, Device device);

}  // namespace quaver
