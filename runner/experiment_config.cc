#include "runner/experiment_config.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "benchmarks/config_registry.h"
#include "core/rng.h"
#include "strategies/config_registry.h"

namespace strata {
namespace {

// Keys of the benchmark group that the runner reads itself.
struct BenchmarkCommon {
  std::string name;
  std::int64_t samples = 32;
  std::string split = "test";
  std::optional<std::uint64_t> seed;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name, "which benchmark");
    visit("samples", self.samples, "how many samples; 0 = all", config::at_least(0));
    visit("split", self.split,
          "what is evaluated: test, or development to choose hyper-parameters on",
          config::one_of({"test", "development"}));
    visit("seed", self.seed, "null = derived from seed");
  }
};

struct StrategyCommon {
  std::string name;
  std::optional<std::uint64_t> seed;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name, "which strategy");
    visit("seed", self.seed, "null = derived from seed");
  }
};

// The part of a group's mapping that `Common` declares, bound; the rest in `own`.
template <typename Common>
Result<Common> split(const config::Value& group, const char* path, config::Value& own) {
  config::Map common, rest;
  const config::Value known = config::to_value(Common{});
  if (const config::Map* map = group.if_map())
    for (const config::MapEntry& entry : *map)
      (known.if_map()->find(entry.key) != nullptr ? common : rest)
          .set(entry.key, entry.key_pos, entry.value);
  own = config::Value(rest);
  own.pos = group.pos;
  Common bound;
  config::Value value(common);
  value.pos = group.pos;
  RETURN_IF_ERROR(config::bind(value, bound, {.path = path, .also_known = {}}));
  return bound;
}

void merge_below(config::Map& target, const config::Value& defaults) {
  for (const config::MapEntry& entry : *defaults.if_map())
    if (target.find(entry.key) == nullptr) target.set(entry.key, entry.value);
}

std::string name_in(const config::Value& files, const char* path) {
  const config::Value* name = files.find(path);
  return name != nullptr && name->if_string() != nullptr ? *name->if_string() : std::string();
}

Result<config::Value> schema_for(const config::Value& files) {
  config::Value schema = config::to_value(ExperimentConfig{});
  config::Map strategy, benchmark;
  merge_below(strategy, config::to_value(StrategyCommon{}));
  for (const StrategyInfo& info : strategy_infos())
    if (info.name == name_in(files, "strategy.name")) merge_below(strategy, info.defaults);
  merge_below(benchmark, config::to_value(BenchmarkCommon{}));
  visit_benchmark_config(name_in(files, "benchmark.name"), [&](const auto& defaults) {
    merge_below(benchmark, config::to_value(defaults));
  });
  schema.if_map()->set("strategy", config::Value(strategy));
  schema.if_map()->set("benchmark", config::Value(benchmark));
  visit_benchmark_config(name_in(files, "calibration.benchmark.name"), [&](const auto& defaults) {
    config::Map other;
    other.set("name", config::Value());
    merge_below(other, config::to_value(defaults));
    schema.find("calibration")->if_map()->set("benchmark", config::Value(other));
  });
  return schema;
}

Status check_benchmark_config(const config::Value& group, const config::Value& own,
                              const char* path) {
  const std::string name = name_in(group, "name");
  Status status;
  const bool known = visit_benchmark_config(name, [&](auto bound) {
    status = config::bind(own, bound, {.path = path, .also_known = {}});
  });
  if (!known) {
    std::vector<std::string> names;
    for (const BenchmarkInfo& info : benchmark_infos()) names.emplace_back(info.name);
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "unknown benchmark '{}'; expected one of {}", name,
                           fmt::join(names, ", "))
                    .at(group.pos.text().empty() ? path : group.pos.text()));
  }
  return status;
}

Status check_mixer(const ExperimentConfig& config) {
  const MixerConfig& mixer = config.mixer;
  const bool linear = mixer.kind == "linear_attention";
  if (linear && !mixer.linear) {
    std::vector<std::string_view> names;
    names.reserve(kLinearKinds.size());
    for (const auto& [kind, name] : kLinearKinds) names.push_back(name);
    return fail(make_error(ErrorKind::kInvalidArgument, "expected one of {}, got null",
                           fmt::join(names, ", "))
                    .at("mixer.linear")
                    .with_hint("mixer=linear_attention mixer.linear=lightning"));
  }
  if (!linear && mixer.linear)
    return fail(make_error(ErrorKind::kInvalidArgument, "mixer.kind={} takes none, got {}",
                           mixer.kind, to_string(*mixer.linear))
                    .at("mixer.linear")
                    .with_hint("set mixer.kind=linear_attention"));
  if (config.decode_rule == DecodeRule::kFull &&
      !traits_of(config.cheap_mixer()).supports_full_decode)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "{} keeps no keys that queries behind the prompt could see; expected "
                           "same, got full",
                           name_of(config.cheap_mixer()))
                    .at("decode_rule")
                    .with_hint("set decode_rule=same"));
  return {};
}

std::uint64_t seed_of(const config::Value& group, std::uint64_t seed, const char* purpose) {
  const config::Value* own = group.find("seed");
  if (own != nullptr && own->if_int() != nullptr) return static_cast<std::uint64_t>(*own->if_int());
  return derive_seed(seed, purpose);
}

}  // namespace

std::int64_t ExperimentConfig::benchmark_samples() const {
  const config::Value* samples = benchmark.find("samples");
  return samples != nullptr && samples->if_int() != nullptr ? *samples->if_int()
                                                            : BenchmarkCommon{}.samples;
}
Split ExperimentConfig::benchmark_split() const {
  return parse_split(name_in(benchmark, "split")).value_or(Split::kTest);
}
std::uint64_t ExperimentConfig::benchmark_seed() const {
  return seed_of(benchmark, seed, "benchmark");
}
std::uint64_t ExperimentConfig::strategy_seed() const {
  return seed_of(strategy, seed, "strategy");
}
std::uint64_t ExperimentConfig::calibration_seed() const {
  return calibration.seed.value_or(derive_seed(seed, "calibration"));
}
std::string ExperimentConfig::benchmark_name() const { return name_in(benchmark, "name"); }
std::string ExperimentConfig::calibration_benchmark_name() const {
  return name_in(calibration.benchmark, "name");
}
std::string ExperimentConfig::strategy_name() const { return name_in(strategy, "name"); }

config::Value ExperimentConfig::benchmark_own() const {
  config::Value own = benchmark;
  for (const char* key : {"name", "samples", "split", "seed"}) own.if_map()->erase(key);
  return own;
}

Result<ExperimentConfig> bind_experiment(const config::Value& composed) {
  ExperimentConfig bound;
  RETURN_IF_ERROR(config::bind(composed, bound));
  RETURN_IF_ERROR(check_mixer(bound));
  config::Value own;
  ASSIGN_OR_RETURN(const StrategyCommon strategy,
                   split<StrategyCommon>(bound.strategy, "strategy", own));
  own.if_map()->set("name", strategy.name);
  RETURN_IF_ERROR(check_strategy_config(own));
  ASSIGN_OR_RETURN(const BenchmarkCommon benchmark,
                   split<BenchmarkCommon>(bound.benchmark, "benchmark", own));
  RETURN_IF_ERROR(check_benchmark_config(bound.benchmark, own, "benchmark"));
  if (config::Value calibration = bound.calibration.benchmark; !calibration.is_null()) {
    if (calibration.if_map() != nullptr) calibration.if_map()->erase("name");
    RETURN_IF_ERROR(
        check_benchmark_config(bound.calibration.benchmark, calibration, "calibration.benchmark"));
  }
  return bound;
}

Result<std::int64_t> benchmark_length(const ExperimentConfig& config) {
  const config::Value* length = config.benchmark.find("length");
  if (length == nullptr || length->if_int() == nullptr || *length->if_int() < 1)
    return fail(ErrorKind::kInvalidArgument,
                "benchmark {} has no length; expected benchmark.length=TOKENS",
                config.benchmark_name());
  return *length->if_int();
}

config::ComposeOptions compose_options(const LoadRequest& request) {
  return {.search_path = request.config_dirs,
          .overrides = request.overrides,
          .multirun = request.multirun,
          .schema = schema_for,
          .environment = {}};
}

Result<std::vector<Job>> load_jobs(const LoadRequest& request) {
  ASSIGN_OR_RETURN(std::vector<config::Composed> composed,
                   config::compose(compose_options(request)));
  std::vector<Job> jobs;
  for (config::Composed& one : composed) {
    ASSIGN_OR_RETURN(ExperimentConfig bound, bind_experiment(one.config));
    jobs.push_back({std::move(bound), std::move(one.config), std::move(one.overrides)});
  }
  return jobs;
}

}  // namespace strata
