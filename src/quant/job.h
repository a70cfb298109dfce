#pragma once
// What identifies a job, where its work lies, and what it reports.
#include <filesystem>
#include <optional>
#include <span>

#include "core/json.h"
#include "quant/calibration.h"
#include "quant/plan.h"
#include "quant/report.h"
#include "quaver/quantize.h"

namespace quaver {

// A 64-bit digest for telling files and jobs apart (not against attackers).
std::uint64_t digest(std::span<const std::byte> bytes, std::uint64_t seed = 0);

// Everything that the output's bytes follow from; `weights` is the digest of checked_weights.
Json describe_job(const Checkpoint& checkpoint, std::uint64_t weights,
                  const QuantizeOptions& options, const Calibration& calibration);

// The report of a whole OUT that the same job made. Throws Error(bad_argument) where OUT is
// anything else, unless it may be overwritten.
std::optional<QuantizeReport> finished_report(const std::filesystem::path& out, const Json& job,
                                              bool overwrite,
                                              std::span<const Arch* const> own_archs = {});

// The same for an OUT of this job whose last change was this redo (quant/redo.h).
std::optional<QuantizeReport> redone_report(const std::filesystem::path& out, const Json& job,
                                            const Json& redo,
                                            std::span<const Arch* const> own_archs);

// ": options.bits is 3 there, 4 here": what tells two jobs apart, if anything does.
std::string difference_of_jobs(const Json& there, const Json& here);

// OUT if it is there, or where publish() has put it when a kill came; empty: neither.
std::filesystem::path earlier_output(const std::filesystem::path& out);

// Makes the empty OUT.partial for this job, dropping what an earlier try of the same job left.
// Throws Error(bad_argument) where it belongs to another one, unless that may be dropped.
std::filesystem::path start_partial(const std::filesystem::path& out, const Json& job,
                                    bool overwrite);

// Whether a name in OUT.partial belongs to the work and not to the output.
bool is_working_name(const std::string& name);

// Removes temporary files that could not be removed in their time: they are no part of an output.
void drop_temporaries(const std::filesystem::path& partial);

// OUT.partial becomes OUT, durably; an OUT that is there is dropped.
void publish(const std::filesystem::path& partial, const std::filesystem::path& out);

}  // namespace quaver
