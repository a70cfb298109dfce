"""Changed tokenizer.json files: (name, base file, JSON merge patch). They try stages and settings that the base files lack."""


def token(id, content, **options):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False} | options


def template(*before_and_after):
    before, after = before_and_after
    special = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    return {"type": "TemplateProcessing",
            "single": [special(n) for n in before] + [{"Sequence": {"id": "A", "type_id": 0}}] + [special(n) for n in after],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {n: {"id": n, "ids": [i], "tokens": [n]} for n, i in {"<s>": 1, "</s>": 2}.items() if n in before + after}}


OPT, BLOOM, LLAMA = "../../../models/story-opt/tokenizer.json", "bloom/tokenizer.json", "llama/tokenizer.json"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BLOOM_REGEX = {"Regex": " ?[^(\\s|[.,!?…。，、।۔،])]+"}
SPECIALS = [token(0, "<unk>", special=True), token(1, "<s>", special=True), token(2, "</s>", special=True)]


def metaspace(scheme, split):
    stage = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
    return {"normalizer": None, "pre_tokenizer": stage, "decoder": stage}


def split(pattern, behavior, invert=False):
    stage = {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [stage, BYTES | {"use_regex": False}]}}


VARIANTS = [
    ("prefix space, sep and cls", OPT, {"pre_tokenizer": BYTES | {"add_prefix_space": True},
     "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<pad>", 0], "trim_offsets": True, "add_prefix_space": True}}),
    ("gpt_neox: NFC, runs of spaces", OPT, {"normalizer": {"type": "NFC"}, "added_tokens": [token(2, "</s>", special=True)] +
     [token(4096 + i, " " * (24 - i), normalized=True) for i in range(23)]}),
    ("stripping tokens", OPT, {"added_tokens": [token(2, "</s>", special=True, lstrip=True), token(1, "<unk>", special=True, rstrip=True),
     token(4096, "<s>", lstrip=True, rstrip=True), token(4097, "say", single_word=True), token(4098, "the", single_word=True, normalized=True),
     token(4099, "<s></s>", special=True), token(4100, "\t", lstrip=True), token(4101, "e\u0301", normalized=True)],
     "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip", "strip_left": True, "strip_right": False}]}}),
    ("template", OPT, {"post_processor": {"type": "Sequence", "processors": [BYTES, template(["</s>"], ["</s>", "</s>"])]}}),
    ("ignore_merges", OPT, {"model": {"ignore_merges": True}}),
    ("unknown letters", OPT, {"pre_tokenizer": None, "decoder": None, "model": {"unk_token": "<unk>", "fuse_unk": True}}),
    ("unknown letters, each", OPT, {"pre_tokenizer": None, "model": {"unk_token": "<unk>"}}),
    ("byte level twice", OPT, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES | {"use_regex": False}, BYTES]}}),
    ("split removed", BLOOM, split(BLOOM_REGEX, "Removed")),
    ("split inverted", BLOOM, split(BLOOM_REGEX, "Removed", True)),
    ("split previous", BLOOM, split(BLOOM_REGEX, "MergedWithPrevious")),
    ("split next", BLOOM, split(BLOOM_REGEX, "MergedWithNext")),
    ("split contiguous", BLOOM, split(BLOOM_REGEX, "Contiguous")),
    ("split string previous", BLOOM, split({"String": " "}, "MergedWithPrevious")),
    ("split string next", BLOOM, split({"String": "ee"}, "MergedWithNext")),
    ("split string contiguous", BLOOM, split({"String": " "}, "Contiguous", True)),
    ("metaspace first", LLAMA, metaspace("first", False)),
    ("metaspace first, split", LLAMA, metaspace("first", True)),
    ("metaspace always, split", LLAMA, metaspace("always", True)),
    ("metaspace never", LLAMA, metaspace("never", False)),
    ("gemma", LLAMA, {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
     "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
     "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}}),
    ("phi3: stripping after", LLAMA, {"added_tokens": SPECIALS + [token(8192, "<|endoftext|>", special=True), token(8193, "<|im_start|>", special=True, rstrip=True)],
     "post_processor": template(["<s>"], ["</s>"])}),
    ("normalized added tokens", LLAMA, {"added_tokens": SPECIALS + [token(8192, "girl", normalized=True), token(8193, "[INST]", normalized=True, special=True)]}),
    ("no byte fallback, fused", LLAMA, {"model": {"byte_fallback": False}}),
    ("no byte fallback, each", LLAMA, {"model": {"byte_fallback": False, "fuse_unk": False}}),
    ("no byte fallback, dropped", LLAMA, {"model": {"byte_fallback": False, "unk_token": None}}),
    ("whole words", LLAMA, metaspace("always", True) | {"model": {"ignore_merges": True}}),
    ("strip both ends", LLAMA, {"decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
     {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 2, "stop": 0}]}}),
    ("prefix and suffix", LLAMA, {"added_tokens": [], "normalizer": None, "post_processor": None, "decoder": None,
     "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False},
     "model": {"unk_token": "<unk>", "fuse_unk": False, "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>", "byte_fallback": False,
               "vocab": {t: i for i, t in enumerate(["<unk>", "a", "t", "##t", "##h", "##e", "##e</w>", "##t</w>", "a</w>", "t##h", "th", "the</w>", "th</w>", "##h</w>", "##the</w>", "##th", "ththe</w>"])},
               "merges": ["t ##h", "th ##e</w>", "##t ##h", "##th ##e</w>", "th ##the</w>"]}, "$replace": ["vocab"]}),
]


def patched(document, patch):
    """RFC 7396 merge patch; model keys named in "$replace" are replaced, not merged."""
    whole = patch.get("$replace", []) if isinstance(patch, dict) else []
    def merge(target, change, replace=()):
        if not isinstance(change, dict):
            return change
        if not isinstance(target, dict):
            target = {}
        for key, value in change.items():
            if key == "$replace":
                continue
            if value is None:
                target.pop(key, None)
            elif key in replace:
                target[key] = value
            else:
                target[key] = merge(target.get(key), value, replace)
        return target
    return merge(document, patch, whole)
