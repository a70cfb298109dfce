#pragma once
// What this machine's arithmetic and memory can do at most, measured now: the yardstick for the
// kernels' speed.

namespace quaver::cpu {

// Multiply-adds in registers by the selected instruction set, in 1e9 floating point operations a
// second (a multiply-add counts 2), all `threads` threads together; best of some short runs.
double fma_gflops(int threads);

// Reading memory that no cache holds, in 1e9 bytes a second, all threads together; best run.
double read_gbytes(int threads);

}  // namespace quaver::cpu
