// A description of branches that is taken says the same when it is written again.
#include "models/convert/branch_description.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

const BranchParent kParent{.id = "parent", .layers = 4, .dtype = DType::kF32};

void check_same(const BranchDescription& description) {
  STRATA_CHECK(!description.layers.empty());
  for (std::size_t i = 0; i < description.layers.size(); ++i)
    STRATA_CHECK(description.layers[i] >= (i == 0 ? 0 : description.layers[i - 1] + 1) &&
                 description.layers[i] < kParent.layers);
  const std::string text = to_text(description, kParent.id, kParent.dtype);
  const auto again = parse_branch_description(text, kParent);
  STRATA_CHECK(again.has_value(), "{}", again.error().text());
  STRATA_CHECK(to_text(*again, kParent.id, kParent.dtype) == text);
  STRATA_CHECK(branches_id(kParent.id, *again) == branches_id(kParent.id, description));
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "branches_json",
    .tokens =
        R"("format":"strata-branches-1", "parent":"parent", "dtype":"F32", "layers":[0,2], )"
        R"("content":"", "config":{}, "kind":"gla", "kind":"lightning", "fusion":"norm", )"
        R"("gate_rank":16, "start_decay":0.99, "seed":18446744073709551615, 1e999 null true)"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const auto description =
      parse_branch_description({reinterpret_cast<const char*>(data), size}, kParent);
  if (!description) return 0;
  fuzz::accepted = true;
  check_same(*description);
  return 0;
}
