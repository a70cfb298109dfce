"""Reference definitions in double precision of families that transformers has no code for.

One class a family. `shapes()` names the tensors of a checkpoint; `run(ids, mask)` computes one
sequence whole, without a cache. Where a rotation depends on the length of the text, a key keeps the
rotation of the step that brought it, as it does in a cache: `prompt` tells how many tokens came at
once, the others came one by one.
"""
import math

import numpy as np


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rms_norm(x, gain, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * gain


def layer_norm(x, gain, bias, eps):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + eps) * gain + bias


def frequencies(dim, base):
    return base ** (-np.arange(0, dim, 2) / dim)


def rotated(x, angles, interleaved=False):
    """x [tokens, heads, head_dim]; angles [tokens, half] turn the first 2 * half columns."""
    half = angles.shape[1]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    y = x.copy()
    if interleaved:
        first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    else:
        first, second = slice(0, half), slice(half, 2 * half)
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., second] * cos + x[..., first] * sin
    return y


def alibi(heads):
    """Press et al. 2022; for other numbers of heads than powers of two, as their code does."""
    power = 2 ** int(math.log2(heads))

    def slopes(n):
        return [2 ** (-8 * (i + 1) / n) for i in range(n)]

    return np.array(slopes(power) + slopes(2 * power)[::2][: heads - power])


def attention(q, k, v, mask, slopes=None):
    """q [tokens, heads, d], k and v [tokens, groups, d] -> [tokens, heads * d]."""
    tokens, heads, width = q.shape
    share = heads // k.shape[1]
    out = np.zeros_like(q)
    hidden = np.triu(np.ones((tokens, tokens), bool), 1) | (np.asarray(mask) == 0)[None]
    for h in range(heads):
        scores = q[:, h] @ k[:, h // share].T / math.sqrt(width)
        if slopes is not None:
            scores += slopes[h] * (np.arange(tokens)[None] - np.arange(tokens)[:, None])
        # A finite number, so that rows of padding, which see nothing, stay defined.
        out[:, h] = softmax(np.where(hidden, -1e300, scores)) @ v[:, h // share]
    return out.reshape(tokens, heads * width)


class Family:
    """A decoder of serial pre-norm blocks; the subclasses say what differs."""

    blocks = "model.layers"
    embedding, final_norm, head = "model.embed_tokens", "model.norm", "lm_head"
    attention_norm, mlp_norm = "input_layernorm", "post_attention_layernorm"
    output = "self_attn.o_proj"
    interleaved = False

    def __init__(self, config, weights=None):
        self.c = config
        self.w = {n: np.asarray(t, np.float64) for n, t in (weights or {}).items()}
        self.hidden = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.groups = config.get("num_key_value_heads") or self.heads
        self.width = self.hidden // self.heads
        self.layers = config.get("num_hidden_layers") or config["num_layers"]
        self.vocab = config["vocab_size"]
        self.eps = config.get("rms_norm_eps", 1e-6)

    # --- names and shapes
    def shapes(self):
        table = {f"{self.embedding}.weight": (self.vocab, self.hidden)}
        for i in range(self.layers):
            for name, shape in self.block_shapes(i).items():
                table[f"{self.blocks}.{i}.{name}"] = shape
        table.update(self.norm_shapes(self.final_norm))
        table[f"{self.head}.weight"] = (self.vocab, self.hidden)
        return table

    def norm_shapes(self, name):
        return {f"{name}.weight": (self.hidden,)}

    def block_shapes(self, layer):
        shapes = {**self.norm_shapes(self.attention_norm), **self.norm_shapes(self.mlp_norm)}
        linears = {**self.attention_linears(), **self.mlp_linears(layer)}
        for name, (rows, columns, bias) in linears.items():
            shapes[f"{name}.weight"] = (rows, columns)
            if bias:
                shapes[f"{name}.bias"] = (rows,)
        return shapes

    def mlp_linears(self, layer):
        inner = self.c["intermediate_size"]
        return {
            "mlp.gate_proj": (inner, self.hidden, False),
            "mlp.up_proj": (inner, self.hidden, False),
            "mlp.down_proj": (self.hidden, inner, False),
        }

    # --- parts
    def linear(self, name, x):
        y = x @ self.w[f"{name}.weight"].T
        return y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y

    def norm(self, name, x):
        return rms_norm(x, self.w[f"{name}.weight"], self.eps)

    def gated(self, x, gate, up, down):
        return self.linear(down, silu(self.linear(gate, x)) * self.linear(up, x))

    def mlp(self, at, layer, x):
        return self.gated(x, f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj", f"{at}.mlp.down_proj")

    def heads_of(self, x):
        return x.reshape(len(x), -1, self.width)

    def base(self, length):
        return self.c.get("rope_theta", 10000.0)

    def rotary_columns(self):
        return self.width

    def angles(self, mask, prompt):
        """[tokens, half] of every position, from what was known when it came; None: no rotation."""
        dim = self.rotary_columns()
        return np.array(
            [p * frequencies(dim, self.base(max(prompt, p + 1))) for p in range(len(mask))]
        )

    def slopes(self):
        return None

    def query_scale(self, tokens):
        return np.ones(tokens)

    def logits(self, x):
        return self.linear(self.head, x)

    # --- the whole
    def run(self, ids, mask=None, prompt=None):
        """-> the embedding, every block's output (the last one normed), and the logits."""
        mask = np.ones(len(ids), int) if mask is None else np.asarray(mask)
        angles = self.angles(mask, len(ids) if prompt is None else prompt)
        x = self.w[f"{self.embedding}.weight"][np.asarray(ids)]
        states = []
        for layer in range(self.layers):
            states.append(x)
            at = f"{self.blocks}.{layer}"
            q, k, v = self.qkv(at, self.norm(f"{at}.{self.attention_norm}", x))
            if angles is not None:
                q, k = (rotated(t, angles, self.interleaved) for t in (q, k))
            q = q * self.query_scale(len(ids))[:, None, None]
            x = x + self.linear(f"{at}.{self.output}", attention(q, k, v, mask, self.slopes()))
            x = x + self.mlp(at, layer, self.norm(f"{at}.{self.mlp_norm}", x))
        x = self.norm(self.final_norm, x)
        return states + [x], self.logits(x)


def dynamic_base(base, dim, length, trained, factor):
    """NTK-aware scaling of texts longer than the trained length."""
    if length <= trained:
        return base
    return base * (factor * length / trained - (factor - 1)) ** (dim / (dim - 2))


class Qwen(Family):
    blocks, embedding, final_norm = "transformer.h", "transformer.wte", "transformer.ln_f"
    attention_norm, mlp_norm, output = "ln_1", "ln_2", "attn.c_proj"

    def __init__(self, config, weights=None):
        super().__init__(config, weights)
        self.eps = config["layer_norm_epsilon"]

    def attention_linears(self):
        bias = not self.c["no_bias"]
        return {
            "attn.c_attn": (3 * self.hidden, self.hidden, True),
            "attn.c_proj": (self.hidden, self.hidden, bias),
        }

    def mlp_linears(self, layer):
        inner, bias = self.c["intermediate_size"] // 2, not self.c["no_bias"]
        return {
            "mlp.w1": (inner, self.hidden, bias),
            "mlp.w2": (inner, self.hidden, bias),
            "mlp.c_proj": (self.hidden, inner, bias),
        }

    def qkv(self, at, x):
        return [self.heads_of(t) for t in np.split(self.linear(f"{at}.attn.c_attn", x), 3, 1)]

    def mlp(self, at, layer, x):
        return self.gated(x, f"{at}.mlp.w2", f"{at}.mlp.w1", f"{at}.mlp.c_proj")

    def rotary_columns(self):
        return int(self.width * self.c["rotary_pct"])

    def angles(self, mask, prompt):
        # The doublings of the trained length that the prompt's visible tokens need, kept after it.
        alpha, dim = 1, self.rotary_columns()
        if self.c["use_dynamic_ntk"]:
            seen = int(np.sum(mask[:prompt]))
            alpha = max(1, 2 ** math.ceil(math.log2(seen / self.c["seq_length"]) + 1) - 1)
        base = self.c["rotary_emb_base"] * alpha ** (dim / (dim - 2))
        return np.arange(len(mask))[:, None] * frequencies(dim, base)[None]

    def query_scale(self, tokens):
        if not self.c["use_logn_attn"]:
            return np.ones(tokens)
        trained = self.c["seq_length"]
        return np.array([max(1, math.log(n, trained)) for n in range(1, tokens + 1)])


class Baichuan(Family):
    def attention_linears(self):
        return {
            "self_attn.W_pack": (3 * self.hidden, self.hidden, False),
            "self_attn.o_proj": (self.hidden, self.hidden, False),
        }

    def qkv(self, at, x):
        return [self.heads_of(t) for t in np.split(self.linear(f"{at}.self_attn.W_pack", x), 3, 1)]

    def angles(self, mask, prompt):
        rotary = "max_position_embeddings" in self.c
        return super().angles(mask, prompt) if rotary else None

    def slopes(self):
        return None if "max_position_embeddings" in self.c else alibi(self.heads)

    def logits(self, x):
        table = self.w["lm_head.weight"]
        if self.c.get("norm_head", self.vocab == 125696):
            table = table / np.sqrt((table * table).sum(1, keepdims=True))
        return x @ table.T


class InternLM(Family):
    def attention_linears(self):
        size = (self.hidden, self.hidden, self.c["bias"])
        return {f"self_attn.{n}_proj": size for n in "qkvo"}

    def qkv(self, at, x):
        return [self.heads_of(self.linear(f"{at}.self_attn.{n}_proj", x)) for n in "qkv"]

    def base(self, length):
        rotary = self.c.get("rotary", {"type": "origin", "base": 10000})
        if rotary["type"] == "origin":
            return rotary["base"]
        return dynamic_base(
            rotary["base"],
            self.width,
            length,
            self.c["max_position_embeddings"],
            rotary.get("scaling_factor", 1.0),
        )


class InternLM2(Family):
    embedding, head = "model.tok_embeddings", "output"
    attention_norm, mlp_norm, output = "attention_norm", "ffn_norm", "attention.wo"

    def attention_linears(self):
        rows, bias = (self.heads + 2 * self.groups) * self.width, self.c["bias"]
        return {
            "attention.wqkv": (rows, self.hidden, bias),
            "attention.wo": (self.hidden, self.heads * self.width, bias),
        }

    def mlp_linears(self, layer):
        inner = self.c["intermediate_size"]
        return {
            "feed_forward.w1": (inner, self.hidden, False),
            "feed_forward.w3": (inner, self.hidden, False),
            "feed_forward.w2": (self.hidden, inner, False),
        }

    def qkv(self, at, x):
        share = self.heads // self.groups
        rows = self.linear(f"{at}.attention.wqkv", x)
        rows = rows.reshape(len(x), self.groups, share + 2, self.width)
        queries = rows[:, :, :share].reshape(len(x), self.heads, self.width)
        return queries, rows[:, :, share], rows[:, :, share + 1]

    def mlp(self, at, layer, x):
        return self.gated(x, *(f"{at}.feed_forward.{n}" for n in ("w1", "w3", "w2")))

    def base(self, length):
        base, scaling = self.c["rope_theta"], self.c.get("rope_scaling")
        if not scaling:
            return base
        assert scaling["type"] == "dynamic"
        trained = self.c["max_position_embeddings"]
        return dynamic_base(base, self.width, length, trained, scaling["factor"])


class ChatGLM(Family):
    blocks, embedding = "transformer.encoder.layers", "transformer.embedding.word_embeddings"
    final_norm, head = "transformer.encoder.final_layernorm", "transformer.output_layer"
    output, interleaved = "self_attention.dense", True

    def __init__(self, config, weights=None):
        super().__init__({"vocab_size": config["padded_vocab_size"], **config}, weights)
        self.width = config["kv_channels"]
        self.eps = config["layernorm_epsilon"]
        multi_query = config["multi_query_attention"]
        self.groups = config["multi_query_group_num"] if multi_query else self.heads

    def norm_shapes(self, name):
        if name == self.final_norm and not self.c["post_layer_norm"]:
            return {}
        shapes = super().norm_shapes(name)
        return shapes if self.c["rmsnorm"] else {**shapes, f"{name}.bias": (self.hidden,)}

    def attention_linears(self):
        bias = self.c["add_bias_linear"]
        rows = (self.heads + 2 * self.groups) * self.width
        return {
            "self_attention.query_key_value": (rows, self.hidden, bias or self.c["add_qkv_bias"]),
            "self_attention.dense": (self.hidden, self.heads * self.width, bias),
        }

    def mlp_linears(self, layer):
        inner, bias = self.c["ffn_hidden_size"], self.c["add_bias_linear"]
        return {
            "mlp.dense_h_to_4h": (2 * inner, self.hidden, bias),
            "mlp.dense_4h_to_h": (self.hidden, inner, bias),
        }

    def norm(self, name, x):
        if name == self.final_norm and not self.c["post_layer_norm"]:
            return x
        if self.c["rmsnorm"]:
            return super().norm(name, x)
        return layer_norm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.eps)

    def qkv(self, at, x):
        rows = self.linear(f"{at}.self_attention.query_key_value", x)
        if not self.c["multi_query_attention"]:  # (query, key, value) of each head in turn
            rows = rows.reshape(len(x), self.heads, 3, self.width)
            return rows[:, :, 0], rows[:, :, 1], rows[:, :, 2]
        queries, keys = self.heads * self.width, self.groups * self.width
        return [self.heads_of(t) for t in np.split(rows, [queries, queries + keys], 1)]

    def mlp(self, at, layer, x):
        gate, up = np.split(self.linear(f"{at}.mlp.dense_h_to_4h", x), 2, 1)
        return self.linear(f"{at}.mlp.dense_4h_to_h", silu(gate) * up)

    def base(self, length):
        return 10000.0 * self.c.get("rope_ratio", 1)

    def rotary_columns(self):
        return self.width // 2


class Deepseek(Family):
    def attention_linears(self):
        keys, bias = self.groups * self.width, self.c["attention_bias"]
        return {
            "self_attn.q_proj": (self.hidden, self.hidden, bias),
            "self_attn.k_proj": (keys, self.hidden, bias),
            "self_attn.v_proj": (keys, self.hidden, bias),
            "self_attn.o_proj": (self.hidden, self.hidden, bias),
        }

    def is_mixture(self, layer):
        first, every = self.c["first_k_dense_replace"], self.c["moe_layer_freq"]
        return layer >= first and layer % every == 0

    def mlp_linears(self, layer):
        if not self.is_mixture(layer):
            return super().mlp_linears(layer)
        experts, inner = self.c["n_routed_experts"], self.c["moe_intermediate_size"]
        linears = {"mlp.gate": (experts, self.hidden, False)}

        def add(prefix, size):
            linears[f"{prefix}.gate_proj"] = (size, self.hidden, False)
            linears[f"{prefix}.up_proj"] = (size, self.hidden, False)
            linears[f"{prefix}.down_proj"] = (self.hidden, size, False)

        for e in range(experts):
            add(f"mlp.experts.{e}", inner)
        if self.c["n_shared_experts"]:
            add("mlp.shared_experts", inner * self.c["n_shared_experts"])
        return linears

    def qkv(self, at, x):
        return [self.heads_of(self.linear(f"{at}.self_attn.{n}_proj", x)) for n in "qkv"]

    def expert(self, at, x):
        return self.gated(x, f"{at}.gate_proj", f"{at}.up_proj", f"{at}.down_proj")

    def mlp(self, at, layer, x):
        if not self.is_mixture(layer):
            return super().mlp(at, layer, x)
        scores, chosen = softmax(self.linear(f"{at}.mlp.gate", x)), self.c["num_experts_per_tok"]
        y = np.zeros_like(x)
        for row in range(len(x)):
            best = np.argsort(-scores[row], kind="stable")[:chosen]
            weights = scores[row, best]
            if chosen > 1 and self.c["norm_topk_prob"]:
                weights = weights / weights.sum()
            for e, weight in zip(best, weights):
                y[row] += weight * self.expert(f"{at}.mlp.experts.{e}", x[row : row + 1])[0]
        if self.c["n_shared_experts"]:
            y += self.expert(f"{at}.mlp.shared_experts", x)
        return y


FAMILIES = {
    "qwen": Qwen,
    "baichuan": Baichuan,
    "internlm": InternLM,
    "internlm2": InternLM2,
    "chatglm": ChatGLM,
    "deepseek": Deepseek,
}


def greedy(model, prompt, count):
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(model.run(ids, prompt=len(prompt))[1][-1].argmax()))
    return ids


def beam_search(model, prompt, count, beams):
    """Without an end token every beam has the same length, and the best sum at the end wins."""
    running = [(0.0, list(prompt))]
    for _ in range(count):
        candidates = []
        for score, ids in running:
            last = model.run(ids, prompt=len(prompt))[1][-1]
            for token, log in enumerate(np.log(softmax(last))):
                candidates.append((score + log, ids + [token]))
        running = sorted(candidates, key=lambda c: -c[0])[:beams]
    return running[0][1]
