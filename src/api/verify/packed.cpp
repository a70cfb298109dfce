// Checks of packed linears: shapes, groups, scales, zero points.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "api/verify/check.h"
#include "core/error.h"
#include "core/threads.h"
#include "formats/format.h"
#include "io/dialect.h"

namespace quaver::verify {
namespace {

void check_packing(const Subject& s, Findings& f) {
  if (!s.dialect) return;
  for (const PackedModule& m : s.packed) {
    // The tensor's name belongs to the subject: the same mistake in all layers is one entry.
    for (const Finding& misfit : m.misfits) f.add(misfit);
    if (m.g_idx || !m.misfits.empty()) continue;
    f.add({.severity = Severity::warning,
           .subject = m.name,
           .problem = "has no g_idx",
           .expected = "the group of each input",
           .readers = "readers that expect it"});
  }
}

// --- Groups --------------------------------------------------------------------------------------

struct Groups {
  bool consecutive = true, all_zero = true;
  std::int64_t outside = 0, first_outside = 0, uneven = 0;
};

Groups groups_of(const PackedModule& m, const Tensor& index) {
  const std::int64_t count = group_count(*m.scheme, m.inputs);
  const std::int64_t size = m.scheme->group_size == -1 ? m.inputs : m.scheme->group_size;
  std::vector<std::int64_t> members(static_cast<std::size_t>(count));
  Groups g;
  const auto values = index.data<std::int32_t>();
  for (std::int64_t k = 0; k < m.inputs; ++k) {
    const std::int64_t group = values[static_cast<std::size_t>(k)];
    g.consecutive = g.consecutive && group == k / size;
    g.all_zero = g.all_zero && group == 0;
    if (group < 0 || group >= count) {
      if (g.outside++ == 0) g.first_outside = k;
      continue;
    }
    ++members[static_cast<std::size_t>(group)];
  }
  for (std::int64_t i = 0; i < count; ++i)
    g.uneven += members[static_cast<std::size_t>(i)] != std::min(size, m.inputs - i * size);
  return g;
}

void report_groups(const PackedModule& m, const Groups& g, bool ordered, Findings& f) {
  const std::int64_t count = group_count(*m.scheme, m.inputs);
  if (g.outside > 0) {
    f.add({.subject = m.g_idx->name,
           .problem =
               text(g.outside, " inputs have groups outside, the first is input ", g.first_outside),
           .expected = text("0 to ", count - 1)},
          "outside");
  } else if (g.all_zero && count > 1) {
    f.add({.severity = Severity::warning,
           .subject = m.g_idx->name,
           .problem = "is all zeros, for several groups",
           .expected = "the group of each input",
           .readers = "readers that go by it; quaver takes the groups for consecutive"});
  } else if (g.uneven > 0) {
    f.add({.subject = m.g_idx->name,
           .problem = text(g.uneven, " of ", count, " groups have not group_size inputs"),
           .expected = text(m.scheme->group_size, " inputs in each")},
          "uneven");
  } else if (!g.consecutive && !ordered) {
    f.add({.subject = m.g_idx->name,
           .problem = "is not sequential, although desc_act is not true",
           .expected = "\"desc_act\": true",
           .readers = "vLLM's exllama kernels ignore g_idx then, and read other weights"});
  }
  if (m.scheme->group_size > 0 && m.inputs % m.scheme->group_size != 0)
    f.add({.severity = Severity::warning,
           .subject = m.name,
           .problem = text("its last group is short: ", m.inputs, " inputs in groups of ",
                           m.scheme->group_size),
           .expected = "a group_size that divides the inputs",
           .readers = "vLLM"});
}

void check_groups(const Subject& s, Findings& f) {
  const auto said =
      s.quantization.is_object() ? s.quantization.find("desc_act") : s.quantization.end();
  const bool ordered = s.quantization.is_object() && said != s.quantization.end() &&
                       said->is_boolean() && said->get<bool>();
  bool any_order = false, any_index = false;
  for (const PackedModule& m : s.packed) {
    if (!m.sound() || !m.g_idx) continue;
    const Groups g = groups_of(m, s.read(m.g_idx->name));
    report_groups(m, g, ordered, f);
    any_index = true;
    any_order = any_order || !g.consecutive;
  }
  if (ordered && any_index && !any_order)
    f.add({.severity = Severity::note,
           .subject = "desc_act",
           .problem = "is true, but all groups are sequential",
           .expected = "false: the weights are the same",
           .readers = "some readers take slower kernels"});
}

// --- Scales --------------------------------------------------------------------------------------

void check_scales(const Subject& s, Findings& f) {
  for (const PackedModule& m : s.packed) {
    if (!m.sound()) continue;
    const Tensor values = to_f32(s.read(m.scales->name));
    std::int64_t broken = 0, zero = 0;
    for (const float v : values.data<float>()) {
      broken += !std::isfinite(v);
      zero += v == 0;
    }
    if (broken > 0)
      f.add({.subject = m.scales->name,
             .problem = text(broken, " of ", values.size(), " scales are NaN or infinite"),
             .expected = "finite numbers"},
            "broken");
    if (zero > 0)
      f.add(
          {.severity = Severity::warning,
           .subject = m.scales->name,
           .problem = text(zero, " of ", values.size(), " scales are zero: their weights are lost"),
           .expected = "numbers other than zero; negative ones are legal"},
          "zero");
  }
}

// --- Zero points ---------------------------------------------------------------------------------

void check_symmetric(const Subject& s, const PackedModule& m, Findings& f) {
  if (s.format->name != "gptq_p" &&
      stored_zero_convention(s.read(m.qzeros->name), m.scheme->bits) == s.format->name)
    return;
  const Quantized q = s.format->unpack(s.weight(m), 0, m.outputs);
  const auto middle = static_cast<float>(1 << (m.scheme->bits - 1));
  const auto zeros = q.zeros.data<float>();
  const auto other = std::ranges::count_if(zeros, [&](float z) { return z != middle; });
  if (other == 0) return;
  const auto shifted = [&](float by) {
    return std::ranges::all_of(zeros, [&](float z) { return z == middle + by; });
  };
  const bool v1 = s.format->name == "gptq";
  if (shifted(v1 ? 1.0f : -1.0f))
    f.add({.subject = m.qzeros->name,
           .problem = text("its zero points are stored as ", v1 ? "gptq_v2" : "gptq",
                           " does, but checkpoint_format is ", s.format->name),
           .expected = text("\"checkpoint_format\": \"", v1 ? "gptq_v2" : "gptq", "\""),
           .readers = "readers that go by it shift all weights by one step; Marlin kernels ignore "
                      "zero points, quaver goes by the data"});
  else
    f.add({.subject = m.qzeros->name,
           .problem = text(other, " of ", zeros.size(), " zero points are not ",
                           static_cast<int>(middle), ", although sym is true"),
           .expected = "\"sym\": false",
           .readers = "vLLM's Marlin kernels ignore zero points then, and read other weights"},
          "sym");
}

constexpr std::int64_t sampled_outputs = 64;

// Mean of code - zero over some outputs, in steps of the grid: near 0 for any weights that surround
// zero, and off by one where zero points were taken for the other convention's.
double mean_in_steps(const Subject& s, const PackedModule& m) {
  const Quantized q = s.format->unpack(s.weight(m), 0, std::min(m.outputs, sampled_outputs));
  const auto codes = q.codes.data<std::uint8_t>();
  const auto zeros = q.zeros.data<float>();
  const std::int64_t groups = q.zeros.dim(1);
  const std::int64_t size = m.scheme->group_size == -1 ? m.inputs : m.scheme->group_size;
  double sum = 0;
  for (std::int64_t r = 0; r < q.rows; ++r)
    for (std::int64_t c = 0; c < q.cols; ++c) {
      const std::int64_t g = q.group_index ? q.group_index.data<std::int32_t>()[c] : c / size;
      sum += codes[static_cast<std::size_t>(r * q.cols + c)] -
             zeros[static_cast<std::size_t>(r * groups + g)];
    }
  return sum / static_cast<double>(q.rows * q.cols);
}

// The largest field that v1 stores stands for a zero point beyond the codes.
void check_range(const Subject& s, const PackedModule& m, Findings& f) {
  const Quantized q = s.format->unpack(s.weight(m), 0, m.outputs);
  const auto top = static_cast<float>((1 << m.scheme->bits) - 1);
  const auto beyond =
      std::ranges::count_if(q.zeros.data<float>(), [&](float z) { return z > top; });
  if (beyond > 0)
    f.add({.severity = Severity::warning,
           .subject = m.qzeros->name,
           .problem = text(beyond, " of ", q.zeros.size(), " zero points are ",
                           static_cast<int>(top) + 1, ", beyond the largest code"),
           .expected = text("1 to ", static_cast<int>(top), ", or gptq_v2 for zero points of 0"),
           .readers = "readers disagree: some wrap to 0, some do not"},
          "beyond");
}

bool groups_readable(const Subject& s, const PackedModule& m) {
  return !m.g_idx || groups_of(m, s.read(m.g_idx->name)).outside == 0;
}

void check_zeros(const Subject& s, Findings& f) {
  double sum = 0;
  std::int64_t modules = 0;
  for (const PackedModule& m : s.packed) {
    if (!m.sound() || !groups_readable(s, m)) continue;
    if (m.scheme->symmetric) {
      check_symmetric(s, m, f);
      continue;
    }
    if (s.format->name == "gptq") check_range(s, m, f);
    sum += mean_in_steps(s, m);
    ++modules;
  }
  if (modules == 0) return;
  const double mean = sum / static_cast<double>(modules);
  const bool v1 = s.format->name == "gptq", v2 = s.format->name == "gptq_v2";
  const double off = v1 ? mean + 1 : v2 ? mean - 1 : 1;
  if (std::abs(off) < 0.25)
    f.add(
        {.severity = Severity::warning,
         .subject = "checkpoint_format",
         .problem = text("is ", s.format->name, ", and the mean weight is then ",
                         std::round(mean * 100) / 100, " steps from zero"),
         .expected = text(v1 ? "gptq_v2" : "gptq", " would make it ", std::round(off * 100) / 100),
         .readers = "all, if the label is wrong: weights shifted by one step"});
}

}  // namespace

extern const Check packing, groups, scales, zeros;

constinit const Check packing = {.name = "packing",
                                 .summary = "parts of packed linears: all there, types, shapes",
                                 .run = check_packing};
constinit const Check groups = {.name = "groups",
                                .summary = "g_idx: in range, whole groups, as desc_act says",
                                .run = check_groups};
constinit const Check scales = {
    .name = "scales", .summary = "scales: finite and not zero", .run = check_scales};
constinit const Check zeros = {
    .name = "zeros", .summary = "zero points: the convention, sym, in range", .run = check_zeros};

}  // namespace quaver::verify
