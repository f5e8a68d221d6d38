// A plan that is taken is canonical: its own JSON gives it again, with the same id.
#include <nlohmann/json.hpp>

#include "core/plan.h"
#include "models/checkpoint/json_fields.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

constexpr HeadLayout kLayout{4, 4, 2};

void check_canonical(const AttentionPlan& plan) {
  STRATA_CHECK(plan.layout() == kLayout);
  const auto again = AttentionPlan::from_json(plan.to_json(), kLayout);
  STRATA_CHECK(again.has_value(), "{}", again.error().text());
  STRATA_CHECK(again->id() == plan.id() && again->to_json() == plan.to_json());
  for (int layer = 0; layer < kLayout.layers; ++layer)
    for (int head = 0; head < kLayout.query_heads; ++head)
      STRATA_CHECK(plan.entry(layer, head) == again->entry(layer, head), "{} {}", layer, head);
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "plan_json",
    .tokens =
        R"("format":1, "granularity":"kv_head", "palette":[{"kind":"full"}], )"
        R"("cells":[[0],[1],[0],[1]], "decode_rule":"full", "window":16, "sinks":4, "id":"", )"
        R"("kind":"linear_attention", "linear":"lightning", "linear":"gated_deltanet", )"
        R"("plan":{"format":1}, null true)"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const auto json = json_fields::parse_object({reinterpret_cast<const char*>(data), size});
  if (!json) return 0;
  const auto plan = AttentionPlan::from_json(*json, kLayout);
  if (!plan) return 0;
  fuzz::accepted = true;
  check_canonical(*plan);
  return 0;
}
