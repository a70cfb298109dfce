#include "quaver/quantize.h"

#include "core/error.h"
#include "formats/format.h"
#include "quant/pipeline.h"

namespace quaver {

QuantizeReport quantize(const std::string& model, const std::string& out,
                        const QuantizeOptions& options,
                        const std::function<void(const QuantizeProgress&)>& progress) {
  try {
    find_format(
        options.format);  // in a file an unknown name is the file's fault, here the caller's
  } catch (const Error& error) {
    fail(Fault::bad_argument, error.what());
  }
  return quantize_checkpoint(model, out, options, progress);
}

}  // namespace quaver
