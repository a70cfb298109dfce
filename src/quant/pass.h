#pragma once
// Quantization methods. A method is one file in this folder and one row of the table in all.cpp.
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "formats/format.h"
#include "nn/module.h"

namespace quaver {

// One linear that a pass shall quantize.
struct Site {
  std::string name;  // checkpoint name of the module, "model.layers.0.self_attn.q_proj"
  Linear* linear = nullptr;
  Scheme scheme;
};

// What a pass did to a site: what the report prints.
struct SiteReport {
  std::string name, method;
  Scheme scheme;
  double error = 0;      // sum over rows of (W - Q) H (W - Q)^T / (W H W^T), where H is known; else
                         // |W - Q|^2 / |W|^2
  double damp = 0;       // damping that the factorization needed, as a share of mean(diag H)
  std::string fallback;  // why another method was used; empty: none
  std::int64_t dead_columns = 0;
  std::int64_t rows = 0;  // calibration rows that the linear saw
  double pooled = 0;      // BlockJob::pooled
  double condition = 0;   // of the damped Hessian, at least
  double seconds = 0;
};

// A block that a pass quantizes as a whole: its calibration inputs, and the outputs to come near
// to. Parts are whole sequences; each is in memory only while it is visited.
class BlockView {
 public:
  // f32 [rows, hidden] both: `input` as the quantized model has it, `target` what the block as it
  // was makes of it, or of its input in the model as it was where an exact stream is asked for.
  // `step` is for one forward of the part.
  using Visit = std::function<void(const Tensor& input, const Tensor& target, Step& step)>;

  virtual ~BlockView() = default;
  virtual std::size_t parts() const = 0;
  virtual void visit(std::size_t part, const Visit& what) = 0;
  // The block itself. Its linears' weights may be replaced in the course of a search.
  virtual Block& block() = 0;
};

// Linears that saw the same input, and what is known about that input. `sites` has one group when
// a method asks for statistics only, so that the block can go on with the quantized weights.
struct BlockJob {
  std::vector<Site> sites;
  const Format* format = nullptr;
  // f32 [inputs, inputs]: mean of x x^T, lower triangle valid. Empty: not asked for.
  Tensor hessian;
  std::int64_t tokens = 0;  // rows of x that it was made of
  // The share of `hessian` that comes from all experts of the layer; 1 where this one saw no token.
  double pooled = 0;
  std::int64_t sequences = 0;  // in the whole calibration
  // f32 [inputs, inputs]: mean of (x_f - x) x^T, where x_f is what the linear sees in the model as
  // it was. Empty: not asked for, or no difference.
  Tensor cross;
  // f32 [at most Needs::samples, inputs]: rows of x, evenly spaced. Empty: not asked for.
  Tensor samples;
  BlockView* block = nullptr;  // null: not asked for
  // Called by the pass for each site when its weight is Packed; a kill later loses nothing of it.
  std::function<void(const Site&, const SiteReport&)> done;
};

class BlockPass {
 public:
  virtual ~BlockPass() = default;
  // Replaces every site's weight by a Packed one of job.format, and calls job.done for each.
  virtual void run(BlockJob& job) = 0;
  // Bytes that run() takes at most for a linear beside the job's statistics and the weights, for
  // planning.
  virtual std::uint64_t workspace(std::int64_t outputs, std::int64_t inputs) const {
    return 2 * sizeof(float) * static_cast<std::uint64_t>(outputs) *
           static_cast<std::uint64_t>(inputs);
  }
  // Whether the model as it was shall run beside the quantized one, for job.cross.
  virtual bool wants_exact_stream() const { return false; }
  // Whether experts' Hessians shall be shrunk towards that of all experts (quant/pooled.h).
  virtual bool wants_pooled_experts() const { return false; }
};

struct Needs {  // what the pipeline must collect; it collects no more
  bool hessian = false;
  std::int64_t samples = 0;  // rows of each linear's input, at most
  bool block = false;        // run() gets all sites of a block at once, with BlockJob::block

  bool calibration() const { return hessian || samples > 0 || block; }
  void add(const Needs& other) {
    hessian |= other.hessian;
    samples = samples > other.samples ? samples : other.samples;
    block |= other.block;
  }
};

struct Method {
  std::string_view name, summary;
  Needs needs;
  std::unique_ptr<BlockPass> (*make)(const Json& options);
};

// What the rounding passes share.
// Round to nearest on the grid of each group's minimum and maximum.
Quantized round_to_nearest(const Tensor& w, const Scheme& scheme, const Format& format);
// |w - q|^2 / |w|^2 of two tensors of one shape; 0 for a weight of zeros.
double relative_error(const Tensor& w, const Tensor& q);

extern const Method rtn, gptq;  // one per file; all.cpp holds the table
std::span<const Method* const> methods();
const Method& find_method(std::string_view name);  // throws, listing the known ones

}  // namespace quaver
