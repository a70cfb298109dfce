#pragma once
// A model family of your own as data: a row (Arch), what its config.json says (Config), and the
// block that most decoders share (BlockLayout). Pass the rows in LoadOptions::archs.
// docs/your-own-model.md shows one whole. Needs the target quaver::extend (pkg-config:
// quaver-extend), which gives nlohmann's JSON and the headers below.
//
// These headers follow the library's insides: they may change with any version.
#include "models/standard_block.h"
#include "quaver/load.h"
