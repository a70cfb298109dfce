#include "models/decoder.h"

namespace quaver {
namespace {

class Mover final : public Visitor {
 public:
  explicit Mover(Device device) : device_(device) {}
  void parameter(const std::string&, Tensor& t, const Shape&) override { t = moved_to(t, device_); }
  void linear(const std::string&, Linear& l) override {
    l.weight = moved_to(l.weight, device_);
    l.bias = moved_to(l.bias, device_);
  }

 private:
  Device device_;
};

}  // namespace

Decoder::Decoder(const Arch& arch, Config config)
    : arch_(&arch), config_(std::move(config)), ends_(arch.ends(config_)) {
  for (int i = 0; i < config_.layers; ++i) blocks_.push_back(arch.block(config_, i));
}

std::string Decoder::block_name(int i) const { return text(arch_->blocks, '.', i); }

void Decoder::visit(Visitor& v) {
  ends_->visit(v);
  for (int i = 0; i < layers(); ++i) v(block_name(i), block(i));
}

Tensor Decoder::forward(const Tensor& ids, Step& step, std::vector<Tensor>* hidden) {
  Tensor x = ends_->embed(ids, step);
  for (int i = 0; i < layers(); ++i) {
    if (hidden) hidden->push_back(x);
    step.layer = i;
    x = block(i).forward(x, step);
  }
  x = ends_->norm(x);
  if (hidden) hidden->push_back(x);
  return x;
}

KvCache Decoder::new_cache(std::int64_t capacity) const {
  KvCache cache{.capacity = capacity};
  cache.layers.resize(static_cast<std::size_t>(config_.layers));
  return cache;
}

void move_to(Decoder& decoder, Device device) {
  Mover mover(device);
  decoder.visit(mover);
}

}  // namespace quaver
