#include "quant/head.h"

#include <utility>

namespace quaver {
namespace {

class HeadBlock final : public Block {
 public:
  explicit HeadBlock(std::unique_ptr<Ends> ends) : ends_(std::move(ends)) {}
  void visit(Visitor& v) override { ends_->visit(v); }
  Tensor forward(const Tensor& x, Step& step) override {
    return ends_->logits(ends_->norm(x), step);
  }

 private:
  std::unique_ptr<Ends> ends_;
};

class NameOfLinear final : public Visitor {
 public:
  explicit NameOfLinear(const Linear* wanted) : wanted_(wanted) {}
  void parameter(const std::string&, Tensor&, const Shape&) override {}
  void linear(const std::string& name, Linear& l) override {
    if (&l == wanted_) found = name;
  }
  std::string found;

 private:
  const Linear* wanted_;
};

// Whether the family follows tie_word_embeddings; one with its own idea of it would not find the
// packed head again.
bool can_be_untied(const Checkpoint& checkpoint) {
  if (!checkpoint.model.tied_head) return true;
  Json config = checkpoint.config;
  untie_head(config);
  const auto& file = checkpoint.model.arch_file;
  return !(file ? ArchFile::config(file, config) : checkpoint.arch->config(config)).tied_head;
}

}  // namespace

HeadSite find_head(const Checkpoint& checkpoint) {
  const auto ends = checkpoint.arch->ends(checkpoint.model);
  const Linear* head = ends->own_head();
  const std::string where = text("--lm-head: ", checkpoint.directory.string());
  if (!head || head->unit_rows)
    fail(Fault::unsupported, where, ": the logits of ", checkpoint.arch->name,
         " are no plain product with a head, and readers of packed weights would not compute them");
  if (!can_be_untied(checkpoint))
    fail(Fault::unsupported, where, ": the head is tied to the embedding, whatever ",
         "tie_word_embeddings says; it cannot have a weight of its own");
  NameOfLinear name(head);
  ends->visit(name);
  if (name.found.empty())
    fail(Fault::internal, where, ": ", checkpoint.arch->name, " does not show its head");
  return {.name = name.found, .outputs = head->outputs, .inputs = head->inputs};
}

std::unique_ptr<Block> load_head(const Checkpoint& checkpoint) {
  auto ends = checkpoint.arch->ends(checkpoint.model);
  load(checkpoint, *ends);
  ends->own_head();
  return std::make_unique<HeadBlock>(std::move(ends));
}

std::unique_ptr<Block> make_head(const Checkpoint& checkpoint) {
  auto ends = checkpoint.arch->ends(checkpoint.model);
  ends->own_head();
  return std::make_unique<HeadBlock>(std::move(ends));
}

void untie_head(Json& config) { config["tie_word_embeddings"] = false; }

}  // namespace quaver
