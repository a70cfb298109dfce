#pragma once
// The JSON form of a finished job, as `--json` prints it and OUT/quaver-report.json holds it.
#include <string>

#include "core/json.h"
#include "quaver/quantize.h"

namespace quaver {

// The calibration tokens that a module saw, and how much of an expert's Hessian is its layer's:
// "37, 63 % pooled", "0, pooled"; empty without calibration.
std::string tokens_in_words(const QuantizedModule& m);

inline constexpr const char* report_file = "quaver-report.json";

Json report_json(const QuantizeReport& report);
// The inverse, for a report of an earlier run. Throws Error(bad_file) that names `where`.
QuantizeReport read_report_json(const Json& j, const std::string& where);

Json plan_json(const QuantizePlan& plan);  // as `quaver plan --json` prints it

// "model.layers.3.mlp.up_proj" -> "model.layers.*.mlp.up_proj"
std::string module_kind(const std::string& name);
int module_layer(const std::string& name);  // 3; -1 without a number

Json evaluation_json(const EvaluateResult& r);  // as `quaver eval --json` prints it

}  // namespace quaver
