#pragma once
// Quantizing a checkpoint directory.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quaver/evaluate.h"
#include "quaver/load.h"

namespace quaver {

// Every field stands once in visit(): flags, --config files, help and bindings follow from it.
struct QuantizeOptions {
  std::string method = "gptq";
  int bits = 4;
  std::int64_t group_size = 128;
  bool sym = true;
  bool desc_act = false;
  bool static_groups = false;
  std::optional<bool> act_group_aware;  // default: on for gptq unless desc_act
  bool true_sequential = true;
  double damp = 0.01;
  std::optional<std::string> scale_search;         // default: weighted
  std::optional<std::int64_t> coordinate_descent;  // default: 4
  std::optional<double> stream_target;             // default: 0.5
  bool mse = false;
  bool lm_head = false;
  std::string compat;
  std::vector<std::string> rules;
  std::string calibration;
  std::string text_field = "text";
  std::int64_t samples = 128;
  std::int64_t seqlen = 2048;
  std::optional<std::uint64_t> seed;
  std::string format = "gptq";
  std::string shard_size = "5G";
  std::string redo;
  std::vector<std::string> redo_settings;
  std::string max_ram;
  std::string evaluate;
  std::string base_model;
  bool strict = false;
  bool overwrite = false;

  void visit(auto&& field) {
    field("method", method, "how codes are chosen: rtn or gptq");
    field("bits", bits, "bits a weight: 2, 3, 4 or 8; with --format gptq_p 5, 6 and 7 too");
    field("group-size", group_size, "input columns that share a scale; -1: the whole row");
    field("sym", sym,
          "symmetric grid, the zero point fixed in the middle; --asym: a zero point a group");
    field("desc-act", desc_act, "quantize columns in the order of falling activation (act-order)");
    field(
        "static-groups", static_groups,
        "scales from the weights as they were, before any column is quantized; with --desc-act the "
        "file stays sequential");
    field("act-group-aware", act_group_aware,
          "order columns within and between groups by activation; the file stays sequential");
    field("true-sequential", true_sequential,
          "later linears of a block see the outputs of its already quantized ones");
    field("damp", damp, "share of mean(diag H) added to the Hessian's diagonal");
    field("scale-search", scale_search,
          "none (min-max), weighted: scales that lose least under diag(H), or mse: least sum of "
          "|error|^2.4; default: weighted");
    field("mse", mse, "the same as --scale-search mse");
    field("coordinate-descent", coordinate_descent,
          "rounds that improve scales and codes in turn after GPTQ's pass; 0: none; default: 4");
    field("stream-target", stream_target,
          "0 to 1: how far the weights may move to make up for the errors of earlier linears; "
          "above 0 the model as it was runs beside the quantized one; default: 0.5");
    field("lm-head", lm_head,
          "quantize the output head too; one that shows the embedding becomes a weight of its own");
    field("compat", compat,
          "autogptq: compute as AutoGPTQ does, its known faults included; improvements are off "
          "unless asked for",
          "NAME");
    field("rule", rules,
          "REGEX=bits:8,group_size:64,sym:false,method:rtn or REGEX=skip, for modules whose name "
          "matches; repeatable, the last match wins");
    field("calibration", calibration,
          "text to calibrate on: .txt, .jsonl, .json or .safetensors ids; default: built-in text");
    field("text-field", text_field, "the field of a .jsonl line that holds the text");
    field("samples", samples, "calibration windows");
    field("seqlen", seqlen, "tokens a window (at most the model's context)");
    field("seed", seed, "draw windows at random with this seed; default: the first ones");
    field("format", format, "layout of the packed weights: gptq, gptq_v2 or gptq_p");
    field("shard-size", shard_size, "largest weight file, e.g. 5G");
    field(
        "max-ram", max_ram,
        "memory to stay within, e.g. 8G: what exceeds it waits in a file beside OUT; default: what "
        "the machine has to spare",
        "SIZE");
    field("evaluate", evaluate,
          "a text file: perplexity and texts of both models and the KL divergence between them go "
          "into the report; the whole MODEL must fit into memory",
          "FILE");
    field("base-model", base_model,
          "ORG/NAME of MODEL, for the model card; default: what its path or config.json says");
    field(
        "redo", redo,
        "quantize the modules of a finished OUT whose names match once more, as --set says, in the "
        "state in which the first run met them; all others keep their bytes, later ones too. The "
        "other options are those of the command that made OUT",
        "REGEX");
    field("set", redo_settings,
          "what is different for --redo: method, bits, group_size, sym, damp, scale_search, "
          "coordinate_descent, stream_target or act_group_aware",
          "KEY=VALUE[,KEY=VALUE]");
    field("strict", strict, "exit with 5 when a module needed a fallback");
    field("overwrite", overwrite, "replace OUT, and drop another job's OUT.partial");
  }
};

struct QuantizedModule {
  std::string name, method;
  int bits = 0;
  std::int64_t group_size = 0;
  double error = 0;  // relative output error on the calibration inputs, or of the weights (rtn)
  double damp = 0;
  std::string fallback;  // why another method was used; empty: none
  double seconds = 0;
  std::int64_t outputs = 0, inputs = 0;
  bool sym = true;
  std::int64_t rows = 0;  // calibration rows that it saw; 0 without calibration
  double condition = 0;   // of the damped Hessian, at least; 0 where there is none
  // An expert's: the share of its Hessian that comes from all experts of its layer; 1 where no
  // calibration token reached it. 0 for other linears.
  double pooled = 0;
};

struct QuantizeSample {  // a prompt, and how each model goes on, greedily
  std::string prompt, before, after;
};

struct QuantizeEvaluation {
  EvaluateResult before, after;  // `after` against the model as it was
  std::vector<QuantizeSample> samples;
};

struct MemorySample {
  double seconds = 0;      // since the start
  std::int64_t bytes = 0;  // resident
};

struct QuantizeForecast {  // what a job was expected to take
  double seconds = 0;      // from its start, --evaluate left out; 0: not known
  std::int64_t peak_rss_bytes = 0;
  std::int64_t disk_bytes = 0;  // of OUT, the reports left out
};

struct QuantizeReport {
  std::string out;
  double seconds = 0;
  std::int64_t peak_rss_bytes = 0;
  std::int64_t disk_bytes = 0;  // of OUT, the reports left out
  double bits_per_weight = 0;   // of the quantized linears, scales and zeros included
  std::optional<QuantizeForecast> planned;
  std::vector<QuantizedModule> modules;
  std::vector<MemorySample> memory;  // in the course of this run
  // Where this run's time went, in seconds: "check" (all weights are read, for values that are not
  // finite and for the job's identity), "plan", "calibration", "quantize", "write" (until all is
  // durable), "verify" (all is read again and compared), "hash" (inputs and outputs, after
  // `seconds`; not in the report file, which is hashed too).
  std::vector<std::pair<std::string, double>> stages;
  std::optional<QuantizeEvaluation> evaluation;  // if asked for
  bool already_done = false;  // OUT was whole and made by the same job: nothing was done
};

// What happens while a job runs; times are seconds.
struct QuantizeProgress {
  std::string stage;        // "calibration", "quantize", "write", "verify", "evaluate"
  std::string module;       // the module just finished, if any
  int done = 0, total = 0;  // modules
  double error = 0;
  double elapsed = 0;
  double left = -1;                    // estimated; negative: not known yet
  std::int64_t samples = 0, rows = 0;  // calibration windows, and rows that the module saw
  double rows_per_second = 0;          // through the modules of this run; 0: not known yet
};

// What quantize would do and take.
struct QuantizePlan {
  std::vector<QuantizedModule> modules;  // how each would be stored; nothing that a run finds out
  double bits_per_weight = 0;
  std::int64_t samples = 0, rows = 0;  // calibration windows and tokens
  QuantizeForecast expected;
  std::int64_t least_ram_bytes = 0;     // the smallest --max-ram that would do
  std::int64_t working_disk_bytes = 0;  // of OUT.partial at most, beside what OUT keeps
};

// Tells what quantize() would do, after some seconds of measurements; writes nothing but a scratch
// file in the current directory, to time the disk. Throws what quantize() would throw before its
// work.
QuantizePlan plan_quantize(const std::string& model, const QuantizeOptions& options,
                           const LoadOptions& load = {});

// Quantizes the checkpoint directory `model` into the new directory `out` (built as OUT.partial,
// verified, renamed). Throws Error. `progress` may be empty; it is called on the calling thread.
// An arch file goes along into `out` as quaver_arch.json.
QuantizeReport quantize(const std::string& model, const std::string& out,
                        const QuantizeOptions& options,
                        const std::function<void(const QuantizeProgress&)>& progress = {},
                        const LoadOptions& load = {});

}  // namespace quaver
