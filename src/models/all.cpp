#include "models/arch.h"

namespace quaver {

// The table: a family's file, which is its namespace too, and the name of the row there.
// clang-format off
#define QUAVER_FAMILIES(ROW) \
  ROW(arcee, arch) ROW(baichuan, arch) ROW(bloom, arch) ROW(chatglm, arch) ROW(codegen, arch) \
  ROW(cohere, arch) ROW(cohere, arch2) ROW(deepseek_v1, arch) ROW(deepseek_v2, arch) \
  ROW(deepseek_v3, arch) ROW(ernie4_5, arch) ROW(exaone4, arch) ROW(falcon, arch) \
  ROW(gemma, arch) ROW(gemma2, arch) ROW(gemma3, arch) ROW(glm, arch) ROW(glm, arch_0414) \
  ROW(gpt2, arch) ROW(gpt_bigcode, arch) ROW(gpt_neox, arch) ROW(gpt_oss, arch) ROW(gptj, arch) \
  ROW(granite, arch) ROW(granite, arch_moe) ROW(helium, arch) ROW(hunyuan, arch) \
  ROW(internlm, arch) ROW(internlm2, arch) ROW(llama, arch) ROW(mistral, arch) \
  ROW(mixtral, arch) ROW(mpt, arch) ROW(nemotron, arch) ROW(olmo, arch) ROW(olmo2, arch) \
  ROW(olmo3, arch) ROW(olmoe, arch) ROW(opt, arch) ROW(phi, arch) ROW(phi3, arch) \
  ROW(qwen, arch) ROW(qwen2, arch) ROW(qwen2_moe, arch) ROW(qwen3, arch) ROW(qwen3_moe, arch) \
  ROW(seed_oss, arch) ROW(smollm3, arch) ROW(stablelm, arch) ROW(starcoder2, arch)
// clang-format on

#define DECLARE(file, row) \
  namespace family::file { \
  extern const Arch row;   \
  }
QUAVER_FAMILIES(DECLARE)
#undef DECLARE

#define ADDRESS(file, row) &family::file::row,
static constexpr const Arch* all[] = {QUAVER_FAMILIES(ADDRESS)};
#undef ADDRESS

std::span<const Arch* const> archs() { return all; }

const Arch& find_arch(const Json& config_json, std::span<const Arch* const> own) {
  ensure_file(config_json.is_object(), config_file, ": expected an object");
  std::string wanted;
  if (const auto it = config_json.find("architectures");
      it != config_json.end() && it->is_array() && !it->empty() && it->front().is_string())
    wanted = it->front().get<std::string>();
  const std::string type = json_string(config_json, "model_type", config_file, "");
  std::string known;
  std::vector<const Arch*> rows(own.begin(), own.end());
  rows.insert(rows.end(), std::begin(all), std::end(all));
  for (const Arch* arch : rows) {
    if (wanted.empty() ? arch->model_type == type : arch->name == wanted || arch->alias == wanted)
      return *arch;
    known += text(known.empty() ? "" : ", ", arch->name);
  }
  fail(Fault::unsupported, config_file, ": unknown architecture '", wanted.empty() ? type : wanted,
       "'; known: ", known, ". --arch-file declares a relative of one of them.");
}

}  // namespace quaver
