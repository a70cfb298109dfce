// The table of checks, in the order of their findings.
#include <array>

#include "api/verify/check.h"

namespace quaver::verify {

extern const Check files, index, agreement, keys, family, packing, groups, scales, zeros, values,
    fusion, head, parallel, manifest;

namespace {
constinit const std::array<const Check*, 14> table = {
    &files,  &index, &agreement, &keys,   &family, &packing,  &groups,
    &scales, &zeros, &values,    &fusion, &head,   &parallel, &manifest};
}

std::span<const Check* const> checks() { return table; }

}  // namespace quaver::verify
