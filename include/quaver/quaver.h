#pragma once
// Everything a program needs to quantize, run and measure models with quaver.
#include "quaver/error.h"
#include "quaver/evaluate.h"
#include "quaver/generate.h"
#include "quaver/load.h"
#include "quaver/model.h"
#include "quaver/quantize.h"

namespace quaver {

const char* version();  // "0.1.0"

}  // namespace quaver
