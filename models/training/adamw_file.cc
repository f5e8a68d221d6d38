#include "models/training/adamw_file.h"

#include "models/checkpoint/safetensors_writer.h"
#include "models/convert/tensor_bytes.h"

namespace strata {
namespace {

constexpr const char* kSteps = "steps";

// each(name in the file, tensor) until one fails.
template <typename Each>
Status for_each_tensor(std::span<const NamedAdamW> optimizers, const Each& each) {
  for (const NamedAdamW& one : optimizers) {
    STRATA_CHECK(one.names.size() == one.adam->weights().size());
    for (std::size_t i = 0; i < one.names.size(); ++i) {
      RETURN_IF_ERROR(each("weight." + one.names[i], one.adam->weights()[i]));
      RETURN_IF_ERROR(each("mean." + one.names[i], one.adam->means()[i]));
      RETURN_IF_ERROR(each("square." + one.names[i], one.adam->squares()[i]));
    }
  }
  return {};
}

}  // namespace

Status save_adamw(const std::filesystem::path& file, std::span<const NamedAdamW> optimizers) {
  STRATA_CHECK(!optimizers.empty());
  const std::int64_t steps = optimizers[0].adam->steps();
  for (const NamedAdamW& one : optimizers) STRATA_CHECK(one.adam->steps() == steps);
  WrittenTensors written;
  RETURN_IF_ERROR(
      for_each_tensor(optimizers, [&](const std::string& name, const at::Tensor& tensor) -> Status {
        written.add(name, tensor);
        return {};
      }));
  return write_safetensors(file, written.views, {{kSteps, std::to_string(steps)}});
}

Status restore_adamw(const std::filesystem::path& path, std::span<const NamedAdamW> optimizers) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  const auto steps = file.metadata().find(kSteps);
  if (steps == file.metadata().end() || steps->second.empty() || steps->second.size() > 18 ||
      steps->second.find_first_not_of("0123456789") != std::string::npos)
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected a count of steps in the file's metadata")
            .at(path.string()));
  RETURN_IF_ERROR(
      for_each_tensor(optimizers, [&](const std::string& name, const at::Tensor& tensor) {
        return read_tensor(file.find(name), name, tensor, path);
      }));
  for (const NamedAdamW& one : optimizers) one.adam->set_steps(std::stoll(steps->second));
  return {};
}

}  // namespace strata
