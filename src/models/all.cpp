#include "models/arch.h"

namespace quaver {

static const Arch* const all[] = {
    &arcee,       &baichuan,    &bloom,       &chatglm,    &codegen,  &cohere,      &cohere2,
    &deepseek_v1, &deepseek_v2, &deepseek_v3, &ernie4_5,   &exaone4,  &falcon,      &gemma,
    &gemma2,      &gemma3,      &glm,         &glm4,       &gpt2,     &gpt_bigcode, &gpt_neox,
    &gpt_oss,     &gptj,        &granite,     &granitemoe, &helium,   &hunyuan,     &internlm,
    &internlm2,   &llama,       &mistral,     &mixtral,    &mpt,      &nemotron,    &olmo,
    &olmo2,       &olmo3,       &olmoe,       &opt,        &phi,      &phi3,        &qwen,
    &qwen2,       &qwen2_moe,   &qwen3,       &qwen3_moe,  &seed_oss, &smollm3,     &stablelm,
    &starcoder2};

std::span<const Arch* const> archs() { return all; }

const Arch& find_arch(const Json& config_json) {
  ensure_file(config_json.is_object(), config_file, ": expected an object");
  std::string wanted;
  if (const auto it = config_json.find("architectures");
      it != config_json.end() && it->is_array() && !it->empty() && it->front().is_string())
    wanted = it->front().get<std::string>();
  const std::string type = json_string(config_json, "model_type", config_file, "");
  std::string known;
  for (const Arch* arch : all) {
    if (wanted.empty() ? arch->model_type == type : arch->name == wanted || arch->alias == wanted)
      return *arch;
    known += text(known.empty() ? "" : ", ", arch->name);
  }
  fail(Fault::unsupported, config_file, ": unknown architecture '", wanted.empty() ? type : wanted,
       "'; known: ", known);
}

}  // namespace quaver
