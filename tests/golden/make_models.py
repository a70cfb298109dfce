#!/usr/bin/env python3
"""Makes tiny checkpoints of model families with golden outputs of transformers.

usage: make_models.py OUT [NAME ...]

OUT/NAME gets config.json, generation_config.json, model.safetensors and golden.safetensors:
input_ids and attention_mask i64 [2, tokens] (the second row is padded on the left), logits, hidden.i
(the embedding, each block's output, the last one after the final norm), and greedy and beam4, row 0
continued by 16 tokens. Each case sets the switches of its family that change the function. Needs
torch and transformers; tests/data/fixtures was made with transformers 5.23 and torch 2.15.
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

TOKENS, NEW, VOCAB = 24, 16, 96
COMMON = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, vocab_size=VOCAB, max_position_embeddings=64)
GPT = dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=VOCAB)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=1e4)
FACTORS = dict(short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.0, 2.0, 4.0, 7.0])
DEEPSEEK = dict(q_lora_rank=12, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6,
                n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=16, n_shared_experts=2,
                first_k_dense_replace=1, n_group=4, topk_group=2, num_key_value_heads=4)

# name: (configuration class, settings)
CASES = {
    "arcee": ("ArceeConfig", COMMON),
    "bloom_6_heads": ("BloomConfig", dict(hidden_size=48, n_head=6, n_layer=2, vocab_size=VOCAB)),
    "cohere_qk_norm": ("CohereConfig", dict(COMMON, use_qk_norm=True, attention_bias=True)),
    "cohere2": ("Cohere2Config", dict(COMMON, sliding_window=8, layer_types=["sliding_attention", "full_attention"])),
    "deepseek_v2": ("DeepseekV2Config", dict(COMMON, **DEEPSEEK, topk_method="group_limited_greedy",
                                             routed_scaling_factor=1.5)),
    "deepseek_v2_lite": ("DeepseekV2Config", dict(COMMON, **dict(DEEPSEEK, q_lora_rank=None), topk_method="greedy")),
    "deepseek_v3": ("DeepseekV3Config", dict(COMMON, **DEEPSEEK, routed_scaling_factor=2.5, norm_topk_prob=True)),
    "deepseek_v3_fp8": ("DeepseekV3Config", dict(COMMON, **DEEPSEEK)),
    "deepseek_v3_yarn": ("DeepseekV3Config", dict(
        COMMON, **DEEPSEEK, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0), norm_topk_prob=False)),
    "ernie4_5": ("Ernie4_5Config", dict(COMMON, use_bias=True, head_dim=8)),
    "exaone4": ("Exaone4Config", dict(COMMON, sliding_window=8,
                                      layer_types=["sliding_attention", "full_attention"])),
    "falcon_new": ("FalconConfig", dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2, vocab_size=VOCAB,
        new_decoder_architecture=True, bias=True)),
    "falcon_alibi": ("FalconConfig", dict(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=6, vocab_size=VOCAB, alibi=True, bias=True,
        parallel_attn=False, multi_query=False, new_decoder_architecture=False)),
    "gemma": ("GemmaConfig", dict(COMMON, head_dim=8)),
    "gemma2_plain": ("Gemma2Config", dict(COMMON, head_dim=8, attn_logit_softcapping=None,
                                          final_logit_softcapping=None, query_pre_attn_scalar=24)),
    "gemma3_full": ("Gemma3TextConfig", dict(
        COMMON, head_dim=8, sliding_window=8, layer_types=["full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                             sliding_attention=dict(rope_type="default", rope_theta=1e4)))),
    "glm": ("GlmConfig", dict(COMMON, head_dim=8, attention_bias=True, pad_token_id=0)),
    "glm4": ("Glm4Config", dict(COMMON, head_dim=8, attention_bias=True, pad_token_id=0)),
    "gpt2_scaled": ("GPT2Config", dict(GPT, scale_attn_by_inverse_layer_idx=True, n_inner=40,
                                       tie_word_embeddings=False)),
    "gpt_bigcode_heads": ("GPTBigCodeConfig", dict(GPT, multi_query=False)),
    "gpt_neox_serial": ("GPTNeoXConfig", dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=VOCAB,
        max_position_embeddings=64, use_parallel_residual=False, attention_bias=False, rotary_pct=0.5)),
    "gpt_oss": ("GptOssConfig", dict(COMMON, head_dim=8, sliding_window=8, num_local_experts=4, num_experts_per_tok=2,
                                     layer_types=["sliding_attention", "full_attention"],
                                     rope_parameters=dict(YARN, truncate=False))),
    "gpt_oss_mxfp4": ("GptOssConfig", dict(
        dict(COMMON, intermediate_size=64), head_dim=8, num_local_experts=4, num_experts_per_tok=2,
        layer_types=["full_attention", "full_attention"], rope_parameters=dict(YARN, truncate=False))),
    "granitemoe": ("GraniteMoeConfig", dict(COMMON, num_local_experts=4, num_experts_per_tok=2,
                                            embedding_multiplier=3.0, residual_multiplier=0.5,
                                            attention_multiplier=0.3, logits_scaling=2.0)),
    "helium": ("HeliumConfig", dict(COMMON, head_dim=8)),
    "hunyuan_dense": ("HunYuanDenseV1Config", dict(COMMON, head_dim=8)),
    "llama_biases": ("LlamaConfig", dict(COMMON, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                         head_dim=12)),
    "llama_dynamic": ("LlamaConfig", dict(
        dict(COMMON, max_position_embeddings=16),
        rope_parameters=dict(rope_type="dynamic", factor=2.0, rope_theta=1e4))),
    "llama_linear": ("LlamaConfig", dict(COMMON, rope_parameters=dict(rope_type="linear", factor=3.0, rope_theta=1e4))),
    "llama_yarn": ("LlamaConfig", dict(COMMON, rope_parameters=YARN)),
    "mistral_window": ("MistralConfig", dict(COMMON, sliding_window=6, head_dim=8)),
    "mixtral_window": ("MixtralConfig", dict(COMMON, sliding_window=6, num_local_experts=6, num_experts_per_tok=3)),
    "mpt_6_heads": ("MptConfig", dict(d_model=48, n_heads=6, n_layers=2, max_seq_len=64, vocab_size=VOCAB,
                                      attn_config=dict(clip_qkv=0.5, softmax_scale=0.3))),
    "nemotron": ("NemotronConfig", dict(COMMON, partial_rotary_factor=0.5, head_dim=8)),
    "olmo": ("OlmoConfig", dict(COMMON, clip_qkv=0.4)),
    "olmo3": ("Olmo3Config", dict(COMMON, sliding_window=8, layer_types=["sliding_attention", "full_attention"])),
    "olmoe": ("OlmoeConfig", dict(COMMON, num_experts=4, num_experts_per_tok=2, clip_qkv=0.7)),
    "phi_qk_norm": ("PhiConfig", dict(COMMON, qk_layernorm=True)),
    "phi3_longrope": ("Phi3Config", dict(
        COMMON, original_max_position_embeddings=20, pad_token_id=0,
        rope_parameters=dict(FACTORS, rope_type="longrope", rope_theta=1e4, partial_rotary_factor=1.0))),
    "qwen2_moe": ("Qwen2MoeConfig", dict(COMMON, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
                                         shared_expert_intermediate_size=20, mlp_only_layers=[1])),
    "qwen2_window": ("Qwen2Config", dict(COMMON, use_sliding_window=True, sliding_window=6, max_window_layers=1)),
    "qwen3_moe_sparse": ("Qwen3MoeConfig", dict(COMMON, head_dim=8, num_experts=6, num_experts_per_tok=3,
                                                moe_intermediate_size=16, decoder_sparse_step=2, norm_topk_prob=False)),
    "seed_oss": ("SeedOssConfig", dict(COMMON, head_dim=8)),
    "smollm3": ("SmolLM3Config", dict(COMMON, no_rope_layers=[1, 0], pad_token_id=0)),
    "stablelm_parallel": ("StableLmConfig", dict(COMMON, use_parallel_residual=True, use_qkv_bias=True)),
    "stablelm_qk_norm": ("StableLmConfig", dict(COMMON, qk_layernorm=True)),
}


# transformers' eager attention adds Falcon's ALiBi twice; everywhere else it is the plainest one.
ATTENTION = {"falcon_alibi": "sdpa"}


def randomize(model, seed):
    """Weights large enough that every term of every formula shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, t in sorted(model.state_dict().items()):
            if not t.is_floating_point():
                continue
            noise = torch.randn(t.shape, generator=generator)
            gain = t.dim() == 1 and bool((t == 1).all())
            t.copy_(1 + 0.2 * noise if gain else 0.25 * noise)


def to_fp8(tensors):
    """Linears of blocks as e4m3 with a scale for each 16 x 24 weights, as DeepSeek-V3's files have them."""
    high, wide = 16, 24
    stored, plain = {}, {}
    for name, t in tensors.items():
        stored[name] = plain[name] = t
        if t.dim() != 2 or not name.endswith("proj.weight"):
            continue
        padded = torch.nn.functional.pad(t, (0, -t.shape[1] % wide, 0, -t.shape[0] % high))
        blocks = padded.reshape(padded.shape[0] // high, high, padded.shape[1] // wide, wide)
        scale = blocks.abs().amax((1, 3)) / 448
        spread = scale.repeat_interleave(high, 0).repeat_interleave(wide, 1)[:t.shape[0], :t.shape[1]]
        stored[name] = (t / spread).to(torch.float8_e4m3fn)
        stored[name.replace(".weight", ".weight_scale_inv")] = scale.contiguous()
        plain[name] = stored[name].float() * spread
    return stored, plain, dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic",
                               weight_block_size=[high, wide])


def to_mxfp4(tensors):
    """Experts in MXFP4, as gpt-oss's files have them; transformers' own code unpacks them."""
    from transformers.integrations.mxfp4 import FP4_VALUES, convert_moe_packed_tensors
    stored, plain = {}, {}
    for name, t in tensors.items():
        stored[name] = plain[name] = t
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            continue
        groups = t.transpose(1, 2).reshape(t.shape[0], t.shape[2], -1, 32)
        scale = groups.abs().amax(-1).log2().floor() - 2
        values = torch.tensor(FP4_VALUES)
        codes = (groups[..., None] / 2 ** scale[..., None, None] - values).abs().argmin(-1)
        blocks = (codes[..., 0::2] + 16 * codes[..., 1::2]).to(torch.uint8)
        scales = (scale + 127).to(torch.uint8)
        del stored[name]
        stored[name + "_blocks"], stored[name + "_scales"] = blocks.contiguous(), scales.contiguous()
        plain[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).contiguous()
    return stored, plain, dict(quant_method="mxfp4", modules_to_not_convert=[
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"])


# Files that hold codes and scales: the goldens are of the plain weights that they stand for.
ENCODINGS = {"deepseek_v3_fp8": to_fp8, "gpt_oss_mxfp4": to_mxfp4}


def make(out, name):
    kind, settings = CASES[name]
    ids = dict(bos_token_id=1, eos_token_id=2)
    config = getattr(transformers, kind)(**{**ids, **settings})
    attention = ATTENTION.get(name, "eager")
    config._attn_implementation = attention
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    randomize(model, 7)
    directory = pathlib.Path(out) / name
    model.save_pretrained(directory)
    weights = directory / "model.safetensors"
    if name in ENCODINGS:
        stored, plain, description = ENCODINGS[name](load_file(weights))
        save_file(plain, weights, {"format": "pt"})

    def fresh():  # a model with dynamic positions remembers the longest text that it has seen
        return transformers.AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation=attention).eval()

    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(3, VOCAB, (2, TOKENS), generator=generator)
    mask = torch.ones_like(tokens)
    mask[1, :5] = 0
    with torch.no_grad():
        result = fresh()(tokens, attention_mask=mask, output_hidden_states=True)
        prompt = tokens[:1]
        options = dict(max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)
        visible = torch.ones_like(prompt)
        golden = {
            "input_ids": tokens, "attention_mask": mask, "logits": result.logits.float(),
            "greedy": fresh().generate(prompt, attention_mask=visible, **options),
            "beam4": fresh().generate(prompt, attention_mask=visible, num_beams=4, **options)}
    for i, hidden in enumerate(result.hidden_states):
        golden[f"hidden.{i}"] = hidden.float()
    save_file({k: v.contiguous() for k, v in golden.items()}, directory / "golden.safetensors")
    if name in ENCODINGS:
        save_file(stored, weights, {"format": "pt"})
        config = json.loads((directory / "config.json").read_text())
        config["quantization_config"] = description
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(name, f"largest logit {result.logits.abs().max():.3f}", flush=True)


def main():
    for name in sys.argv[2:] or CASES:
        make(sys.argv[1], name)


main()
