#pragma once
// The JSON form of a finished job, as it stands in OUT/quaver-report.json: report_json.
#include "quant/report.h"
