#include "benchmarks/registry.h"

#include "benchmarks/config_registry.h"
#include "benchmarks/jsonl.h"
#include "benchmarks/local_text.h"
#include "benchmarks/longmemeval.h"
#include "benchmarks/multi_passkey.h"
#include "benchmarks/niah.h"
#include "benchmarks/niah_grid.h"
#include "benchmarks/ruler.h"

namespace strata {
namespace {

template <typename Config, typename Make>
Result<std::unique_ptr<Benchmark>> bind_and_make(const config::Value& value,
                                                 const config::BindOptions& options, Make make) {
  Config bound;
  if (!value.is_null()) RETURN_IF_ERROR(config::bind(value, bound, options));
  return make(std::move(bound));
}

}  // namespace

Result<std::unique_ptr<Benchmark>> make_benchmark(std::string_view name,
                                                  const config::Value& config,
                                                  const config::BindOptions& options) {
  if (name == "jsonl") return bind_and_make<JsonlConfig>(config, options, make_jsonl);
  if (name == "local_text") return bind_and_make<LocalTextConfig>(config, options, make_local_text);
  if (name == "longmemeval")
    return bind_and_make<LongMemEvalConfig>(config, options, make_longmemeval);
  if (name == "multi_passkey")
    return bind_and_make<MultiPasskeyConfig>(config, options, make_multi_passkey);
  if (name == "niah") return bind_and_make<NiahConfig>(config, options, make_niah);
  if (name == "niah_grid") return bind_and_make<NiahGridConfig>(config, options, make_niah_grid);
  if (name == "ruler") return bind_and_make<RulerConfig>(config, options, make_ruler);
  std::vector<std::string> known;
  for (const BenchmarkInfo& info : benchmark_infos()) known.emplace_back(info.name);
  return fail(make_error(ErrorKind::kInvalidArgument, "expected one of {}, got '{}'",
                         fmt::join(known, ", "), name)
                  .at("benchmark")
                  .with_hint(config::nearest_hint(name, known, "benchmarks")));
}

}  // namespace strata
