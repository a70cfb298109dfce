#pragma once
// Memory of this process and of the machine, as the system counts it.
#include <cstdint>

namespace quaver {

std::uint64_t resident_bytes();       // of this process now; 0 where the system does not tell
std::uint64_t peak_resident_bytes();  // at most so far
// What this process may still take: the machine's available memory, or what its control group
// leaves, if that is less. 0 where the system does not tell.
std::uint64_t available_bytes();

}  // namespace quaver
