#include "quaver/quantize.h"

#include "api/loaded_model.h"
#include "core/error.h"
#include "formats/format.h"
#include "quant/pipeline.h"

namespace quaver {

QuantizeReport quantize(const std::string& model, const std::string& out,
                        const QuantizeOptions& options,
                        const std::function<void(const QuantizeProgress&)>& progress,
                        const LoadOptions& load) {
  check_device(load.device);
  try {
    find_format(
        options.format);  // in a file an unknown name is the file's fault, here the caller's
  } catch (const Error& error) {
    fail(Fault::bad_argument, error.what());
  }
  return quantize_checkpoint(model, out, options, progress, search_of(load));
}

}  // namespace quaver
