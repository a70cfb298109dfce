#include "quaver/quaver.h"

namespace quaver {

const char* version() { return QUAVER_VERSION; }

}  // namespace quaver
