#include "runner/convert_config.h"

#include <nlohmann/json.hpp>

namespace strata {
namespace {

Status check(const ConvertConfig& config) {
  const auto refuse = [](const char* key, std::string_view message, std::string_view hint) {
    return fail(make_error(ErrorKind::kInvalidArgument, "{}", message)
                    .at(key)
                    .with_hint(std::string(hint)));
  };
  const std::int64_t steps =
      config.stage1.training.steps + config.stage2.training.steps + config.stage3.training.steps;
  if (steps > 0 && config.text.source != "teacher" && config.text.path.empty())
    return refuse("text.path", fmt::format("text.source={} needs one", config.text.source),
                  "text.path=PATH, or text=teacher");
  if (steps == 0 && !config.model.branches.empty())
    return refuse("stage1.steps", "no stage has a step and the branches are there already",
                  "stage1.steps=N or stage2.steps=N");
  for (std::size_t i = 1; i < config.layers.size(); ++i)
    if (config.layers[i] <= config.layers[i - 1])
      return refuse("layers", "expected rising layers", "layers=[0,2,5]");
  return {};
}

}  // namespace

config::ComposeOptions convert_options(const LoadRequest& request) {
  return {.search_path = request.config_dirs,
          .config_name = "convert",
          .overrides = request.overrides,
          .multirun = false,
          .schema = [](const config::Value&) -> Result<config::Value> {
            return config::to_value(ConvertConfig{});
          },
          .environment = {}};
}

Result<ConvertJob> load_convert(const LoadRequest& request) {
  if (request.multirun)
    return fail(ErrorKind::kInvalidArgument, "convert makes one model; it takes no --multirun");
  ASSIGN_OR_RETURN(std::vector<config::Composed> composed,
                   config::compose(convert_options(request)));
  ConvertJob job;
  RETURN_IF_ERROR(config::bind(composed[0].config, job.config));
  RETURN_IF_ERROR(check(job.config));
  job.composed = std::move(composed[0].config);
  return job;
}

}  // namespace strata
