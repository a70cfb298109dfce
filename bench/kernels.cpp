// quaver-bench-kernels [--json] [--threads N] [--rounds R] [--quick] [--cpu-time]
// The speed of the CPU kernels beside the limits of the machine, measured in the same run: every
// round measures each limit and each kernel once, so that a slow minute of the machine hits all.
// --cpu-time: one thread, timed by the processor time it got, for a machine that is busy.
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/threads.h"
#include "formats/lines.h"
#include "kernels/backend.h"
#include "kernels/cpu/limits.h"
#include "kernels/cpu/select.h"

namespace quaver {
namespace {

enum class Unit { gflops, gbytes };

struct Case {
  std::string name;
  Unit unit;
  double work;  // floating point operations or bytes of one run
  std::function<void()> run;
  std::vector<double> rates = {};
};

struct Settings {
  bool json = false, quick = false, cpu_time = false;
  int threads = thread_count(), rounds = 5;
};

double seconds_of(const std::function<void()>& run, bool cpu_time) {
  const auto now = [cpu_time] {
    timespec t{};
    clock_gettime(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double start = now();
  run();
  return now() - start;
}

Tensor some_floats(Shape shape) {
  Tensor t(shape);
  std::uint32_t state = 1;
  for (float& v : t.data<float>()) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  return t;
}

Mem mem(const Tensor& t) { return {t.base(), t.offset()}; }

Case gemm_case(std::int64_t m, std::int64_t n, std::int64_t k) {
  const Tensor x = some_floats({m, k}), w = some_floats({n, k}), y({m, n});
  const auto run = [=] {
    cpu_backend.ops(0).gemm({}, {.x = mem(x),
                                 .w = mem(w),
                                 .y = mem(y),
                                 .m = m,
                                 .n = n,
                                 .k = k,
                                 .x_row = k,
                                 .w_row = k,
                                 .ldy = n});
  };
  const std::string name = text("gemm f32 ", m, " x ", n, " x ", k);
  if (m <= 4) return {name, Unit::gbytes, 4.0 * static_cast<double>(n * k), run};
  return {name, Unit::gflops, 2.0 * static_cast<double>(m * n) * static_cast<double>(k), run};
}

// The limits of one thread, as cases like the others.
std::vector<Case> limit_cases() {
  const auto sink = std::make_shared<float>(1.0f);
  constexpr std::int64_t turns = 200000, floats = 16 << 20;
  const auto flops = static_cast<double>(cpu::kernels().fma_burst(turns, sink.get()));
  const Tensor memory = some_floats({floats});
  return {{"limit: multiply-add", Unit::gflops, flops,
           [=] { cpu::kernels().fma_burst(turns, sink.get()); }},
          {"limit: read", Unit::gbytes, 4.0 * floats, [=] {
             *sink = cpu::kernels().read_burst(memory.data<float>().data(), floats) * 1e-9f;
           }}};
}

double rate_of(const Case& c, bool cpu_time) {
  c.run();  // after this its operands are where they are in a loop over it alone
  double seconds = 0;
  int times = 0;
  for (; seconds < 0.02; ++times) seconds += seconds_of(c.run, cpu_time);  // short ones repeat
  return 1e-9 * c.work * times / seconds;
}

Case gram_case(std::int64_t n, std::int64_t rows) {
  const Tensor x = some_floats({rows, n}), y({n, n});
  const auto run = [=] {
    cpu_backend.ops(0).gemm({}, {.x = mem(x),
                                 .w = mem(x),
                                 .y = mem(y),
                                 .m = n,
                                 .n = n,
                                 .k = rows,
                                 .x_row = 1,
                                 .x_col = n,
                                 .w_row = 1,
                                 .w_col = n,
                                 .ldy = n,
                                 .into = GemmArgs::Into::add,
                                 .lower_only = true});
  };
  const double flops = static_cast<double>(n * n) * static_cast<double>(rows);
  return {text("gram, lower half, ", n, " from ", rows), Unit::gflops, flops, run};
}

// Several weights in turn, together beyond the caches, as decoding a model reads them.
Case packed_case(const Format& format, int bits, std::int64_t group_size, std::int64_t m,
                 std::int64_t n, std::int64_t k) {
  const std::int64_t copies = m <= 8 ? 24 : 1;
  std::vector<Packed> weights;
  double bytes = 0;
  for (std::int64_t c = 0; c < copies; ++c) {
    Packed p{.format = &format,
             .scheme = {.bits = bits, .group_size = group_size},
             .rows = n,
             .cols = k};
    for (const PartInfo& info : format.parts(p.scheme, n, k)) {
      if (info.freedom == PartInfo::optional && info.name != "g_idx") continue;
      Tensor t(info.shape, info.dtype);
      std::memset(t.host(), info.name == "scales" ? 0x2c : 0x55, t.bytes());
      if (info.name == "g_idx")
        for (std::int64_t i = 0; i < k; ++i)
          t.data<std::int32_t>()[static_cast<std::size_t>(i)] =
              static_cast<std::int32_t>(i / group_size);
      bytes += static_cast<double>(t.bytes());
      p.parts.emplace(info.name, t);
    }
    weights.push_back(std::move(p));
  }
  const Tensor x = some_floats({m, k}), y({m, n});
  const auto run = [=] {
    for (const Packed& w : weights)
      for (const PackedGemm& kernel : cpu_backend.ops(0).packed)
        if (kernel.format == format.name && kernel.fits(w, m)) {
          kernel.run({}, {.x = mem(x), .y = mem(y), .w = &w, .m = m});
          break;
        }
  };
  const std::string name =
      text(format.name, " ", bits, " bits g", group_size, ", ", m, " x ", n, " x ", k);
  if (m <= 8) return {name, Unit::gbytes, bytes, run};
  return {name, Unit::gflops, 2.0 * static_cast<double>(m * n) * static_cast<double>(k), run};
}

Case attention_case(std::int64_t rows, std::int64_t keys, std::int64_t heads, std::int64_t d) {
  const Tensor q = some_floats({rows, heads * d}), k = some_floats({keys, heads * d});
  const Tensor y({rows, heads * d});
  const auto run = [=] {
    cpu_backend.ops(0).attention({}, {.q = mem(q),
                                      .k = mem(k),
                                      .v = mem(k),
                                      .y = mem(y),
                                      .rows = rows,
                                      .keys = keys,
                                      .heads = heads,
                                      .kv_heads = heads,
                                      .head_dim = d,
                                      .scale = 0.125f});
  };
  const double seen = static_cast<double>(rows) * static_cast<double>(2 * keys - rows + 1) / 2;
  return {text("attention ", rows, " of ", keys, ", ", heads, " heads of ", d), Unit::gflops,
          4 * seen * static_cast<double>(heads * d), run};
}

std::vector<Case> cases(bool quick) {
  std::vector<Case> all;
  for (const std::int64_t size : {1024, 2048, 4096})
    if (!quick || size < 4096) all.push_back(gemm_case(size, size, size));
  all.push_back(gemm_case(512, 256, 256));
  all.push_back(gemm_case(512, 1024, 256));
  all.push_back(gemm_case(512, 768, 768));
  all.push_back(gemm_case(2048, 1024, 256));
  all.push_back(gram_case(1024, 2048));
  all.push_back(gemm_case(1, 8192, 8192));
  const Format& gptq = find_format("gptq");
  for (const int bits : {2, 3, 4, 8}) all.push_back(packed_case(gptq, bits, 128, 1, 4096, 4096));
  all.push_back(packed_case(gptq, 4, 128, 4, 4096, 4096));
  all.push_back(packed_case(gptq, 4, 128, 512, 4096, 4096));
  for (const int bits : {2, 3, 4, 5, 6, 8})
    all.push_back(packed_case(lines, bits, 128, 1, 4096, 4096));
  all.push_back(packed_case(lines, 4, 32, 1, 4096, 4096));
  for (const std::int64_t m : {2, 4, 8, 16, 512})
    all.push_back(packed_case(lines, 4, 128, m, 4096, 4096));
  all.push_back(packed_case(lines, 4, 32, 512, 4096, 4096));
  all.push_back(packed_case(lines, 8, 128, 512, 4096, 4096));
  all.push_back(attention_case(512, 512, 6, 64));
  all.push_back(attention_case(1, 2048, 32, 64));
  return all;
}

double best(const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); }

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

Settings settings_of(int argc, char** argv) {
  Settings s;
  const auto number = [&](int& i) {
    ensure(i + 1 < argc, argv[i], " needs a number");
    const int n = std::atoi(argv[++i]);
    ensure(n >= 1, argv[i - 1], " ", argv[i], ": must be at least 1");
    return n;
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json")
      s.json = true;
    else if (word == "--quick")
      s.quick = true;
    else if (word == "--cpu-time")
      s.cpu_time = true;
    else if (word == "--threads")
      s.threads = number(i);
    else if (word == "--rounds")
      s.rounds = number(i);
    else
      fail(Fault::bad_argument, "unknown word ", word,
           "; known: --json, --quick, --cpu-time, --threads N, --rounds R");
  }
  if (s.cpu_time) s.threads = 1;
  return s;
}

void run(const Settings& s) {
  set_thread_count(s.threads);
  std::vector<double> fma, read;
  const std::vector<Case> limits = s.cpu_time ? limit_cases() : std::vector<Case>{};
  std::vector<Case> all = cases(s.quick);
  for (const Case& c : all) c.run();
  for (int round = 0; round < s.rounds; ++round) {
    fma.push_back(s.cpu_time ? rate_of(limits[0], true) : cpu::fma_gflops(s.threads));
    read.push_back(s.cpu_time ? rate_of(limits[1], true) : cpu::read_gbytes(s.threads));
    for (Case& c : all) c.rates.push_back(rate_of(c, s.cpu_time));
  }
  nlohmann::ordered_json rows;
  const auto row = [&](const std::string& name, const std::string& unit,
                       const std::vector<double>& rates, double limit) {
    rows.push_back({{"kernel", name},
                    {"unit", unit},
                    {"best", best(rates)},
                    {"median", median(rates)},
                    {"best_of_limit", best(rates) / limit}});
  };
  row("limit: multiply-add", "GFLOP/s", fma, best(fma));
  row("limit: read", "GB/s", read, best(read));
  for (const Case& c : all)
    row(c.name, c.unit == Unit::gflops ? "GFLOP/s" : "GB/s", c.rates,
        best(c.unit == Unit::gflops ? fma : read));
  if (s.json) {
    std::cout << nlohmann::ordered_json{{"isa", cpu::selected_isa()},
                                        {"threads", s.threads},
                                        {"rounds", s.rounds},
                                        {"results", rows}}
                     .dump(2)
              << '\n';
    return;
  }
  std::cout << cpu::selected_isa() << ", " << s.threads << " threads, " << s.rounds
            << " rounds\n\n| kernel | best | median | unit | best of limit |\n"
            << "|---|---|---|---|---|\n";
  std::cout.precision(3);
  for (const auto& r : rows)
    std::cout << "| " << r["kernel"].get<std::string>() << " | " << r["best"].get<double>() << " | "
              << r["median"].get<double>() << " | " << r["unit"].get<std::string>() << " | "
              << r["best_of_limit"].get<double>() << " |\n";
}

}  // namespace
}  // namespace quaver

int main(int argc, char** argv) {
  try {
    quaver::run(quaver::settings_of(argc, argv));
  } catch (const std::exception& e) {
    std::cerr << "quaver-bench-kernels: " << e.what() << '\n';
    return 1;
  }
}
