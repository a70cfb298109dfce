#!/usr/bin/env bash
# Builds quaver and shows the main job on the small model in models/story-opt: perplexity before,
# quantization to 4 bits, a text, perplexity after.
#
#   scripts/demo.sh [OUT]     OUT: where the quantized model goes, default build-demo/story-opt-4bit
set -euo pipefail
cd "$(dirname "$0")/.."
model=models/story-opt
out=${1:-build-demo/story-opt-4bit}

echo "== Building"
scripts/setup.sh --build-only
cmake -S . -B build-demo -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF >/dev/null
cmake --build build-demo --parallel "$(nproc)" --target quaver_program
quaver=build-demo/quaver

perplexity() {  # DIRECTORY: "29.83 ± 0.12"
  "$quaver" eval "$1" --context 512 --max-windows 60 --quiet | sed -n 's/^perplexity  *//p'
}
megabytes() { du -cb "$1"/*.safetensors | awk 'END { printf "%.1f MB", $1 / 1e6 }'; }
write() { "$quaver" generate "$1" "Once upon a time" --max-new-tokens 60 --temperature 0.7 \
    --top-k 40 --seed 1 --quiet; }

echo
echo "== Perplexity of $model (60 windows of 512 tokens of the built-in text)"
before=$(perplexity "$model")
echo "$before"

echo
echo "== Quantizing its linears to 4 bits by GPTQ"
"$quaver" quantize "$model" "$out" --method gptq --bits 4 --group-size 128 \
  --samples 64 --seqlen 512 --overwrite

echo
echo "== The quantized model continues: Once upon a time"
write "$out"

echo
echo "== Perplexity of $out"
after=$(perplexity "$out")
echo "$after"

echo
printf '%-28s %-12s %s\n' "" "weights" "perplexity"
printf '%-28s %-12s %s\n' "$model" "$(megabytes "$model")" "$before"
printf '%-28s %-12s %s\n' "$out" "$(megabytes "$out")" "$after"
echo
echo "The program is $quaver; try: $quaver generate $out \"The little dog\""
