#include "models/arch.h"

namespace quaver {

static const Arch* const all[] = {
    &bloom,    &codegen, &cohere,   &falcon,   &gemma2,    &gemma3,    &gpt2,     &gpt_bigcode,
    &gpt_neox, &gptj,    &granite,  &llama,    &mistral,   &mixtral,   &mpt,      &olmo2,
    &opt,      &phi,     &phi3,     &qwen2,    &qwen3,     &qwen3_moe, &stablelm, &starcoder2,
    &baichuan, &chatglm, &deepseek, &internlm, &internlm2, &qwen};

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
