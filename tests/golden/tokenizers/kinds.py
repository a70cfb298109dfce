"""Tokenizers of every kind: (name, base file, JSON merge patch). The bases are trained by make_tokenizers.py."""
from variants import split, template, token

UNIGRAM, WORD_PIECE, WORD_LEVEL, BYTES, SUBWORDS = "unigram.json", "wordpiece.json", "wordlevel.json", "bytes.json", "subwords.json"
NONE = {"normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, "added_tokens": []}


def normalizer(kind, **options):
    return {"normalizer": {"type": kind} | options}


def pre_tokenizer(kind, **options):
    return {"pre_tokenizer": {"type": kind} | options}


def bert(clean, chinese, accents, lower):
    return normalizer("BertNormalizer", clean_text=clean, handle_chinese_chars=chinese, strip_accents=accents, lowercase=lower)


def regex(pattern, behavior="Isolated", invert=False):
    return split({"Regex": pattern}, behavior, invert)


def metaspace(scheme, whole=False):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": not whole}


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
UPPER, LOWER, TAIL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = "|".join([r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + TAIL, r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" + TAIL,
                  r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
REGEXES = [
    ("llama 3", LLAMA3), ("qwen 2", LLAMA3.replace("{1,3}", "")), ("cl100k", CL100K), ("o200k", O200K),
    ("tekken", O200K.replace(TAIL, "").replace("{1,3}", "")), ("deepseek 3", DEEPSEEK),
    ("qwen 3.5", LLAMA3.replace("{1,3}", "").replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")),
    ("deepseek digits", r"\p{N}{1,3}"), ("deepseek cjk", "[一-龥\u3040-ゟ゠-ヿ]+"), ("digits", "[0-9][0-9][0-9]"),
    ("gpt 2, other order", r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
    ("words", r"\w+|[^\w\s]+"), ("not words", r"\W+"), ("spaces", r"\s+"), ("digits, decimal", r"\d+|\D+"), ("hexadecimal", r"\h+|\H"),
    ("nested class", r"[a-z[A-Z][0-9_]]+"), ("intersection", r"[\w&&[^a-z]]+"), ("negated nested", r"[^[a-z][^\p{L}]]+"), ("posix", r"[[:alpha:]]+|[[:punct:]]+|[[:^space:]]"),
    ("scripts", r"\p{Han}+|\p{Hiragana}+|\p{Katakana}+|\p{Latin}+|\p{^Greek}"), ("categories", r"\p{Lu}+|\p{Ll}+|\P{L}+"), ("long names", r"\p{Uppercase_Letter}+|\p{Letter}+|\p{Number}|\p{Punct}"),
    ("ends of lines", r"^\w+|\w+$"), ("ends of text", r"\A\w+|\w+\z|\w+\Z"), ("any", r"."), ("any, with lines", r"(?m:.{1,4})"), ("look behind", r"(?<=\p{L})[^\p{L}]+"), ("look ahead", r"\w+(?=\s)"),
    ("boundaries", r"\b\w{1,3}\b|\B."), ("atomic", r"(?>\s+)\S|\p{L}+"), ("possessive", r"\p{L}++\p{N}?"), ("lazy", r"\p{L}{2,5}?"), ("empty", r"x*"), ("repeated count", r"(?:a|b){2}"), ("no lower bound", r"a{,2}b"),
    ("ignoring case", r"(?i)[a-f]+|straße|K"), ("back reference", r"(\w)\1+"), ("named group", r"(?<q>['\"]).*?\k<q>"), ("hexadecimal escapes", r"[\x{3b1}-\x{3c9}\u0041-\u0046]+|\t|\x41"), ("extended", "(?x) \\p{L}+ # letters\n | \\p{N}"),
]

KINDS = [
    ("unigram", UNIGRAM, {}),
    ("unigram, bytes", UNIGRAM, {"model": {"byte_fallback": True}}),
    ("unigram, whole text", UNIGRAM, {"pre_tokenizer": metaspace("always", True)}),
    ("unigram, first", UNIGRAM, {"pre_tokenizer": metaspace("first"), "decoder": metaspace("first")}),
    ("unigram, never", UNIGRAM, {"pre_tokenizer": metaspace("never"), "decoder": metaspace("never")}),
    ("unigram, byte level", UNIGRAM, pre_tokenizer("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True) | {"decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}}),
    ("xlnet", UNIGRAM, {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "``"}, "content": "\""}, {"type": "Replace", "pattern": {"String": "''"}, "content": "\""},
     {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}}),
    ("wordpiece", WORD_PIECE, {}),
    ("wordpiece, short words", WORD_PIECE, {"model": {"max_input_chars_per_word": 5}}),
    ("wordpiece, no cleanup", WORD_PIECE, {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False}}),
    ("wordpiece, byte level", WORD_PIECE, pre_tokenizer("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)),
] + [(f"bert {flags}", WORD_PIECE, bert(*flags)) for flags in [(True, True, None, False), (True, False, None, True), (False, True, False, True), (False, False, True, False), (False, False, False, False)]] + [
    ("wordlevel", WORD_LEVEL, {}),
    ("ctc", WORD_LEVEL, {"decoder": {"type": "CTC", "pad_token": "the", "word_delimiter_token": ",", "cleanup": True}}),
    ("ctc, no cleanup", WORD_LEVEL, {"decoder": {"type": "CTC", "pad_token": "t", "word_delimiter_token": ",", "cleanup": False}}),
    ("bpe decoder", SUBWORDS, {}),
    ("bpe, suffix only", SUBWORDS, {"decoder": {"type": "Sequence", "decoders": [{"type": "BPEDecoder", "suffix": "</w>"}, {"type": "Strip", "content": "t", "start": 1, "stop": 0}]}}),
] + [(name, WORD_PIECE, normalizer(name)) for name in ("NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Lowercase", "Nmt", "ByteLevel")] + [
    ("Strip left", UNIGRAM, normalizer("Strip", strip_left=True, strip_right=False)), ("Strip right", UNIGRAM, normalizer("Strip", strip_left=False, strip_right=True)),
    ("Prepend", UNIGRAM, normalizer("Prepend", prepend="ab")), ("Replace regex", UNIGRAM, normalizer("Replace", pattern={"Regex": r"\s+|(?<=a)b|$"}, content="--")),
    ("Replace string", UNIGRAM, normalizer("Replace", pattern={"String": "."}, content="")),
    ("NFKC, NFD", BYTES, {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFD"}]}}), ("NFD, NFC", BYTES, {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "NFC"}]}}),
    ("NFKD bytes", BYTES, normalizer("NFKD")), ("Nmt bytes", BYTES, normalizer("Nmt")), ("ByteLevel bytes", BYTES, normalizer("ByteLevel") | {"pre_tokenizer": None}),
] + [(f"{name} {options or ''}".strip(), WORD_LEVEL, normalizer("NFC") | pre_tokenizer(name, **options)) for name, options in [
    ("Whitespace", {}), ("WhitespaceSplit", {}), ("BertPreTokenizer", {}), ("CharDelimiterSplit", {"delimiter": "e"}), ("Digits", {"individual_digits": True}), ("Digits", {"individual_digits": False}), ("UnicodeScripts", {}),
    ("FixedLength", {"length": 3})] + [("Punctuation", {"behavior": b}) for b in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext")]] + [
    (f"{name}, on bytes", BYTES, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": name} | options, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}}) for name, options in [
    ("Whitespace", {}), ("WhitespaceSplit", {}), ("BertPreTokenizer", {}), ("CharDelimiterSplit", {"delimiter": "e"}), ("Digits", {"individual_digits": False}), ("Digits", {"individual_digits": True}), ("UnicodeScripts", {}), ("FixedLength", {"length": 7})]
    + [("Punctuation", {"behavior": b}) for b in ("Contiguous", "Removed", "MergedWithPrevious", "MergedWithNext")]] + [
    ("falcon", BYTES, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
     {"type": "Digits", "individual_digits": False}, {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": False}]}}),
    ("deepseek", BYTES, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": r}, "behavior": "Isolated", "invert": False} for r in (r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK)] +
     [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}}),
    ("qwen", BYTES, normalizer("NFC") | regex(LLAMA3.replace("{1,3}", "")) | {"model": {"ignore_merges": True}}),
    ("roberta", BYTES, {"post_processor": {"type": "RobertaProcessing", "sep": ["the", 5], "cls": ["a", 3], "trim_offsets": True, "add_prefix_space": False}}),
    ("bert processing", WORD_PIECE, {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}}),
    ("template", BYTES, {"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template(["<s>"], ["</s>", "<s>"])]}}),
    ("added tokens", WORD_PIECE, {"added_tokens": [token(1, "[CLS]", special=True), token(2, "[SEP]", special=True, lstrip=True), token(1500, "É", normalized=True), token(1501, "girl", single_word=True, normalized=True),
     token(1502, "<s>", special=True, rstrip=True), token(1503, " the ", lstrip=True, rstrip=True), token(1504, "你", normalized=True), token(1505, "İ", normalized=True, single_word=True)]}),
] + [(f"regex: {name}", BYTES, regex(pattern)) for name, pattern in REGEXES] + [
    (f"regex: {name}, {behavior}{', inverted' * invert}", BYTES, regex(dict(REGEXES)[name], behavior, invert)) for name in ("o200k", "deepseek 3", "empty", "scripts") for behavior in ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous") for invert in (False, True)]
