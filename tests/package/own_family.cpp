// own_family LLAMA: two families that quaver does not know, declared by this program over copies of
// a Llama checkpoint whose config.json bears their names: one as a layout, one as a block written
// out. Both must give the tokens that the built-in family gives, and be quantized.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "quaver/extend/block.h"
#include "quaver/quaver.h"

namespace {

namespace fs = std::filesystem;
using namespace quaver;

Config read_config(const Json& j) { return llama_config(j); }

std::unique_ptr<Ends> ends(const Config& c) {
  return std::make_unique<StandardEnds>(llama_ends(c));
}

constinit const Arch by_layout = {
    .name = "LayoutForCausalLM",
    .model_type = "layout",
    .blocks = "model.layers",
    .config = read_config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<StandardBlock>(c, llama_layout(c));
    },
    .ends = ends,
    .buffers = llama_buffers,
};

class HandMade final : public Block {
 public:
  explicit HandMade(const Config& c) {
    const std::int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim;
    before_ = after_ = {.size = c.hidden, .eps = c.norm_eps};
    q_ = {.outputs = queries, .inputs = c.hidden};
    k_ = v_ = {.outputs = keys, .inputs = c.hidden};
    o_ = {.outputs = c.hidden, .inputs = queries};
    gate_ = up_ = {.outputs = c.intermediate, .inputs = c.hidden};
    down_ = {.outputs = c.hidden, .inputs = c.intermediate};
    attention_.shape = standard_attention(c);
    attention_.rope = make_rope(config_rope(c.json), c.head_dim);
  }
  void visit(Visitor& v) override {
    v("input_layernorm", before_);
    v("self_attn.q_proj", q_);
    v("self_attn.k_proj", k_);
    v("self_attn.v_proj", v_);
    v("self_attn.o_proj", o_);
    v("post_attention_layernorm", after_);
    v("mlp.gate_proj", gate_);
    v("mlp.up_proj", up_);
    v("mlp.down_proj", down_);
  }
  Tensor forward(const Tensor& x, Step& step) override {
    const Tensor seen = before_(x);
    const Tensor mixed = attention_(q_(seen, step), k_(seen, step), v_(seen, step), step);
    const Tensor middle = x + o_(mixed, step);
    const Tensor normed = after_(middle);
    const Tensor inner = gated(gate_(normed, step), Activation::silu, up_(normed, step));
    return middle + down_(inner, step);
  }

 private:
  RmsNorm before_, after_;
  Linear q_, k_, v_, o_, gate_, up_, down_;
  SelfAttention attention_;
};

constinit const Arch by_hand = {
    .name = "HandMadeForCausalLM",
    .model_type = "hand_made",
    .blocks = "model.layers",
    .config = read_config,
    .block = [](const Config& c, int) -> std::unique_ptr<Block> {
      return std::make_unique<HandMade>(c);
    },
    .ends = ends,
    .buffers = llama_buffers,
};

std::vector<std::int32_t> continued(const std::string& model, const LoadOptions& load) {
  const std::vector<std::vector<std::int32_t>> prompts{{2, 10, 20, 30}};
  const GenerateOptions options{.max_new_tokens = 12, .ignore_eos = true};
  return Model::load(model, load).generate(prompts, options)[0].ids;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const fs::path source = argv[1], top = fs::temp_directory_path() / "quaver_own_family";
  const Arch* const rows[] = {&by_layout, &by_hand};
  const LoadOptions load{.archs = rows};
  const std::vector<std::int32_t> expected = continued(source.string(), {});
  bool good = true;
  for (const Arch* arch : rows) {
    const fs::path model = top / arch->model_type, out = top / "out";
    fs::remove_all(top);
    fs::create_directories(model);
    fs::copy(source, model);
    std::ifstream in(source / "config.json");
    Json config = Json::parse(in);
    config["architectures"] = {arch->name};
    config["model_type"] = arch->model_type;
    std::ofstream(model / "config.json") << config;
    const std::string ids = (top / "ids.json").string();
    std::ofstream(ids) << Json(std::vector<int>(32, 7));
    bool refused = false;
    try {
      continued(model.string(), {});  // without the row it is unknown
    } catch (const Error& error) {
      refused = error.fault == Fault::unsupported;
    }
    const bool same = continued(model.string(), load) == expected;
    const QuantizeOptions options{
        .bits = 8, .group_size = 16, .calibration = ids, .samples = 2, .seqlen = 16};
    const QuantizeReport report = quantize(model.string(), out.string(), options, {}, load);
    const bool runs = continued(out.string(), load).size() == 12;
    std::cout << arch->name << ": " << (refused ? "unknown without its row, " : "KNOWN, ")
              << (same ? "the same tokens, " : "OTHER TOKENS, ") << report.modules.size()
              << " modules quantized\n";
    good = good && refused && same && runs && !report.modules.empty();
  }
  fs::remove_all(top);
  return good ? 0 : 1;
}
