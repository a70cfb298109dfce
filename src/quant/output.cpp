#include "quant/output.h"

#include <algorithm>
#include <map>
#include <set>

namespace quaver {
namespace {

class OutputPlanner {
 public:
  OutputPlanner(const Checkpoint& checkpoint, const Plan& plan)
      : checkpoint_(checkpoint), plan_(plan) {
    for (const PlannedSite& site : plan.sites) sites_[site.layer].emplace(site.name, &site);
    unstacks_ = std::ranges::any_of(plan.sites, &PlannedSite::stacked);
  }

  std::vector<OutputTensor> run() {
    const int blocks = checkpoint_.model.layers;
    for (int layer = 0; layer < blocks; ++layer) {
      add_packed(layer);
      if (unstacks_) add_unstacked(layer);
      add_copies(text(checkpoint_.arch->blocks, '.', layer, '.'));
    }
    add_packed(blocks);  // the head
    add_copies("");
    return std::move(output_);
  }

 private:
  void add_packed(int layer) {
    for (const auto& [name, site] : sites_[layer]) {
      std::map<std::string, PartInfo> parts;
      for (const PartInfo& part : plan_.format->parts(site->scheme, site->outputs, site->inputs))
        parts.emplace(part.name, part);
      for (const auto& [part, info] : parts)
        output_.push_back({{text(name, '.', part), info.dtype, info.shape}, site, {}});
      done_.insert(name + ".weight");
    }
  }

  // Packed weights do not stack, so the tensors that did are written linear by linear.
  void add_unstacked(int layer) {
    for (UnstackedPart& part : unstacked_parts(checkpoint_, layer)) {
      done_.insert(part.stack);
      if (!part.is_bias && sites_[layer].contains(part.linear)) continue;
      const DType dtype = checkpoint_.source->find(part.stack)->dtype;
      const Shape shape = part.is_bias ? Shape({part.shape.outputs})
                                       : Shape({part.shape.outputs, part.shape.inputs});
      output_.push_back({{part.name, dtype, shape}, nullptr, std::move(part)});
    }
  }

  void add_copies(const std::string& prefix) {
    for (const TensorInfo& t : checkpoint_.source->tensors())
      if (t.name.starts_with(prefix) && done_.insert(t.name).second)
        output_.push_back({{t.name, t.dtype, t.shape}, nullptr, {}});
  }

  const Checkpoint& checkpoint_;
  const Plan& plan_;
  std::map<int, std::map<std::string, const PlannedSite*>> sites_;  // by layer
  std::set<std::string> done_;
  std::vector<OutputTensor> output_;
  bool unstacks_ = false;
};

}  // namespace

std::vector<OutputTensor> planned_output(const Checkpoint& checkpoint, const Plan& plan) {
  return OutputPlanner(checkpoint, plan).run();
}

std::vector<TensorPlan> plans_of(const std::vector<OutputTensor>& output) {
  std::vector<TensorPlan> plans;
  plans.reserve(output.size());
  for (const OutputTensor& tensor : output) plans.push_back(tensor.plan);
  return plans;
}

}  // namespace quaver
