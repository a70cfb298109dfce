#pragma once
// What a job will take, told before it starts: memory from the sizes of one block and a short
// forward of it, time from short measurements of the same program on this machine.
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "quant/calibration.h"
#include "quant/plan.h"

namespace quaver {

// Bytes of host memory, in parts.
struct MemoryNeeds {
  std::uint64_t base = 0;        // what the process holds before it begins
  std::uint64_t ends = 0;        // embedding and head, until the calibration tokens are embedded
  std::uint64_t block = 0;       // weights of one block as they were, and as they became
  std::uint64_t statistics = 0;  // of one group, while its inputs come in
  std::uint64_t running = 0;     // one chunk's forward; kept for the next one, where there is room
  std::uint64_t solving = 0;     // one group's statistics, and what its solve takes
  std::uint64_t waiting = 0;     // what all other chunks hold: may lie in a file instead
  std::uint64_t reading = 0;     // mapped pages while files are written and compared
  std::uint64_t evaluation = 0;  // --evaluate: the model as it was, whole

  std::uint64_t peak() const;
  std::uint64_t least() const;  // the smallest limit that can be kept
};

struct Forecast {
  MemoryNeeds memory;
  double seconds = 0;              // from the start of the job, --evaluate left out
  std::uint64_t disk = 0;          // of OUT: weights and the files that go along
  std::uint64_t disk_working = 0;  // of OUT.partial at most, beside that
  double bits_per_weight = 0;      // of the quantized linears, scales and zeros included
  // What the chunks hold at each place where they wait for one another, and how often they come to
  // it; seconds that a byte takes to a file and back.
  std::vector<std::pair<std::uint64_t, int>> waits;
  double seconds_to_spill = 0;

  // What `seconds` becomes where waiting chunks may keep `resident` bytes in memory.
  double seconds_with(std::uint64_t resident) const;
};

struct ForecastInputs {
  std::int64_t rows = 0;        // calibration tokens
  std::int64_t chunk_rows = 0;  // of one forward
  std::int64_t window = 0;      // tokens of the longest text
  bool true_sequential = true;
  bool evaluate = false;
  // Bytes and seconds of checked_weights, which has just read all weights.
  double seconds_to_read = 0;
  std::filesystem::path scratch;  // a directory on the disk that is written to
  double measuring = 0;           // seconds that measurements may take; 0: memory and disk only
};

// Throws what loading a block throws. Leaves no host buffers kept.
Forecast forecast(const Checkpoint& checkpoint, const Plan& plan, const ForecastInputs& inputs);

}  // namespace quaver
