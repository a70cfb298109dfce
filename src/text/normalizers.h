#pragma once
// The readers of normalizers that normalizers.cpp names in its table.
#include "text/pipeline.h"

namespace quaver::tokens {

Normalizer read_nfc(const Json& object, std::string_view where);
Normalizer read_nfd(const Json& object, std::string_view where);
Normalizer read_nfkc(const Json& object, std::string_view where);
Normalizer read_nfkd(const Json& object, std::string_view where);
Normalizer read_lowercase(const Json& object, std::string_view where);
Normalizer read_strip_accents(const Json& object, std::string_view where);
Normalizer read_bert_normalizer(const Json& object, std::string_view where);
Normalizer read_nmt(const Json& object, std::string_view where);
Normalizer read_precompiled(const Json& object, std::string_view where);
Normalizer read_byte_level_normalizer(const Json& object, std::string_view where);

}  // namespace quaver::tokens
