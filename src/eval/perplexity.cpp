#include "eval/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/file.h"
#include "eval/held_out.h"
#include "eval/protocol.h"
#include "generate/session.h"
#include "ops/ops.h"
#include "ops/score.h"

namespace quaver {
namespace {

using Ids = std::vector<std::int32_t>;
using Clock = std::chrono::steady_clock;

constexpr std::size_t text_limit = std::size_t{1} << 30;      // bytes
constexpr std::int64_t default_context = 2048;                // tokens
constexpr std::int64_t step_rows = 2048;                      // rows of one forward pass, about
constexpr std::int64_t logit_bytes = std::int64_t{64} << 20;  // logits formed at a time
constexpr std::int64_t most_logit_rows = 1024;

// Mean and standard error of numbers that arrive in a fixed order.
class Average {
 public:
  void add(double x) {
    ++count_;
    sum_ += x;
    squares_ += x * x;
  }
  std::int64_t count() const { return count_; }
  double mean() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0; }
  double standard_error() const {
    if (count_ < 2) return 0;
    const double n = static_cast<double>(count_);
    return std::sqrt(std::max(0.0, squares_ / n - mean() * mean()) / (n - 1));
  }

 private:
  std::int64_t count_ = 0;
  double sum_ = 0, squares_ = 0;
};

struct Scores {
  Average nll, kl;
  std::int64_t same_top = 0;
};

// The windows of the job and the ids they are cut from.
struct Plan {
  const Protocol* protocol = nullptr;
  std::int64_t context = 0;
  Ids ids;
  std::vector<Window> windows;
  std::optional<std::int32_t> bos;
};

// What the tokenizer puts before a text, if anything.
std::optional<std::int32_t> leading_token(const Tokenizer& tokenizer) {
  const Ids plain = tokenizer.encode("a", false), special = tokenizer.encode("a", true);
  if (special.size() <= plain.size() || special.front() == plain.front()) return std::nullopt;
  return special.front();
}

Plan planned(const EvaluateJob& job) {
  const EvaluateOptions& options = job.options;
  Plan plan{.protocol = &find_protocol(options.protocol)};
  const std::int64_t most = job.model.config().max_positions,
                     hard = job.model.ends().position_limit();
  plan.context =
      options.context.value_or(most > 0 ? std::min(default_context, most) : default_context);
  ensure(hard == 0 || plan.context <= hard, "[eval] --context ", plan.context, ": the model has ",
         hard, " positions");
  const std::int64_t other = job.reference ? job.reference->ends().position_limit() : 0;
  ensure(other == 0 || plan.context <= other, "[eval] --context ", plan.context,
         ": the reference model has ", other, " positions");
  ensure(!options.stride || plan.protocol->has_stride, "[eval] --stride is not used by protocol ",
         plan.protocol->name);
  const std::int64_t stride = options.stride.value_or(std::max<std::int64_t>(1, plan.context / 2));
  ensure(!options.max_windows || *options.max_windows >= 1, "[eval] --max-windows ",
         options.max_windows.value_or(0), ": expected at least 1");
  const std::string text =
      options.text.empty() ? held_out_text() : read_file(options.text, text_limit);
  plan.ids = job.tokenizer.encode(text, false);
  check_ids(job.model, plan.ids);
  plan.windows =
      plan.protocol->windows(static_cast<std::int64_t>(plan.ids.size()), plan.context, stride);
  if (options.max_windows && *options.max_windows < static_cast<std::int64_t>(plan.windows.size()))
    plan.windows.resize(static_cast<std::size_t>(*options.max_windows));
  if (plan.protocol->starts_with_bos) plan.bos = leading_token(job.tokenizer);
  if (job.reference)
    ensure(job.reference->config().vocab == job.model.config().vocab,
           "[eval] the reference's vocabulary has ", job.reference->config().vocab,
           " tokens, the model's ", job.model.config().vocab);
  return plan;
}

// The windows' final norm outputs, one window after another: f32 [rows, hidden].
Tensor normed(Decoder& decoder, const Plan& plan, std::span<const Window> windows, Device device) {
  std::int64_t rows = 0;
  for (const Window& w : windows) rows += w.end - w.begin;
  Step step;
  step.device = device;
  step.positions = Tensor::raw({rows}, DType::i32);
  Tensor ids = Tensor::raw({rows}, DType::i32);
  auto id = ids.data<std::int32_t>().begin();
  auto position = step.positions.data<std::int32_t>().begin();
  for (const Window& w : windows) {
    const std::int64_t size = w.end - w.begin;
    step.sequences.push_back({.rows = size});
    std::copy_n(plan.ids.begin() + w.begin, size, id);
    if (plan.bos) *id = *plan.bos;
    std::iota(position, position + size, 0);
    id += size;
    position += size;
  }
  return decoder.forward(moved_to(ids, device), step);
}

// Scores the rows of one window, a chunk of logits at a time.
class Scorer {
 public:
  Scorer(const EvaluateJob& job, const Plan& plan)
      : job_(&job),
        plan_(&plan),
        chunk_(std::clamp<std::int64_t>(logit_bytes / 4 / job.model.config().vocab, 1,
                                        most_logit_rows)) {}

  // `first` is the window's first row of the normed states.
  void add(const Window& w, std::int64_t first, const Tensor& model, const Tensor& reference) {
    const std::int64_t begin = first + (w.first_scored - 1 - w.begin);
    for (std::int64_t done = 0; done < w.scored(); done += chunk_) {
      const std::int64_t rows = std::min(chunk_, w.scored() - done);
      const std::int64_t row = begin + done;
      const std::span<const std::int32_t> targets(plan_->ids.data() + w.first_scored + done,
                                                  static_cast<std::size_t>(rows));
      const Tensor logits = logits_of(job_->model, model.rows(row, row + rows));
      add_nll(logits, targets);
      if (reference) add_kl(logits_of(*job_->reference, reference.rows(row, row + rows)), logits);
    }
  }
  const Scores& scores() const { return scores_; }

 private:
  Tensor logits_of(Decoder& decoder, const Tensor& rows) const {
    Step step;
    step.device = job_->device;
    return decoder.logits(rows, step);
  }

  void add_nll(const Tensor& logits, std::span<const std::int32_t> targets) {
    std::vector<RowScore> rows(targets.size());
    score_rows(logits, targets, rows);
    for (const RowScore& r : rows) {
      if (!std::isfinite(r.nll))
        fail(Fault::numerical, "[eval] token ", scores_.nll.count(),
             " of the scored ones: the model's logits are not finite");
      scores_.nll.add(r.nll);
    }
  }

  void add_kl(const Tensor& reference, const Tensor& logits) {
    const auto rows = static_cast<std::size_t>(logits.dim(0));
    std::vector<double> kl(rows);
    std::vector<std::uint8_t> same(rows);
    kl_rows(reference, logits, kl, same);
    for (std::size_t r = 0; r < rows; ++r) {
      if (!std::isfinite(kl[r]))
        fail(Fault::numerical, "[eval] token ", scores_.kl.count(),
             " of the scored ones: the reference's logits are not finite");
      scores_.kl.add(kl[r]);
      scores_.same_top += same[r] != 0;
    }
  }

  const EvaluateJob* job_;
  const Plan* plan_;
  std::int64_t chunk_;
  Scores scores_;
};

EvaluateResult result_of(const Plan& plan, const Scores& scores, bool against) {
  EvaluateResult r{.protocol = std::string(plan.protocol->name), .context = plan.context};
  r.nll = scores.nll.mean();
  r.perplexity = std::exp(r.nll);
  r.perplexity_stderr = r.perplexity * scores.nll.standard_error();
  r.tokens = scores.nll.count();
  r.windows = static_cast<std::int64_t>(plan.windows.size());
  if (against) {
    r.kl = scores.kl.mean();
    r.kl_stderr = scores.kl.standard_error();
    r.top1 = static_cast<double>(scores.same_top) / static_cast<double>(scores.kl.count());
  }
  return r;
}

}  // namespace

EvaluateResult evaluate(const EvaluateJob& job) {
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const Plan plan = planned(job);
  const auto total = static_cast<std::int64_t>(plan.windows.size());
  const double prepared = elapsed();
  const std::int64_t group = std::max<std::int64_t>(1, step_rows / plan.context);
  Scorer scorer(job, plan);
  for (std::int64_t first = 0; first < total; first += group) {
    const std::int64_t count = std::min(group, total - first);
    const auto windows =
        std::span(plan.windows)
            .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    const Tensor model = normed(job.model, plan, windows, job.device);
    Tensor reference;
    if (job.reference) reference = normed(*job.reference, plan, windows, job.device);
    std::int64_t row = 0;
    for (const Window& w : windows) {
      scorer.add(w, row, model, reference);
      row += w.end - w.begin;
    }
    if (!job.progress) continue;
    const auto done = static_cast<double>(first + count);
    const double now = elapsed();
    job.progress({.done = first + count,
                  .total = total,
                  .perplexity = std::exp(scorer.scores().nll.mean()),
                  .elapsed = now,
                  .left = (now - prepared) / done * (static_cast<double>(total) - done)});
  }
  EvaluateResult result = result_of(plan, scorer.scores(), job.reference != nullptr);
  result.seconds = elapsed();
  return result;
}

}  // namespace quaver
