#pragma once
// What this machine has.
#include "core/json.h"

namespace quaver {

// Physical cores among those that this process may run on, not more than its cgroup's share of
// time; at least 1.
int physical_cores();

// {"cpu", "isa", "cores", "threads", "version"}: what stands beside measurements.
Json machine_summary();

// {"version", "compiler", "cpu": {"model", "isa_available", "isa_selected"}, "cores": {"online",
// "allowed", "physical", "cgroup_limit", "threads"}, "memory": {"total", "available",
// "cgroup_limit"}, "measured": {"fma_gflops", "read_gbytes", "threads"} | null, "gpus": [..]}
Json examine_machine(bool measure);

}  // namespace quaver
