#include "core/rng.h"
#include "strategies/builtin.h"

namespace strata {
namespace {

class Random final : public SelectionStrategy {
 public:
  explicit Random(RandomConfig config) : config_(config) {}
  std::string label() const override { return fmt::format("random[{}]", config_.draw); }
  std::string group() const override { return "random"; }
  Result<Variants> variants(const SelectionRequest&) const override {
    Variants variants{"draw", {}};
    if (config_.draw < 0)
      for (std::int64_t draw = 0; draw < config_.draws; ++draw) variants.values.push_back(draw);
    return variants;
  }
  Result<Selection> select(const SelectionRequest& request, SelectionContext&) override {
    if (config_.draw < 0)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.draw is not set, which means every draw; expected one")
                      .with_hint("strategy.draw=0 is the first"));
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    Mask mask(request.granularity, request.layout, false);
    Rng rng(request.seed, fmt::format("random mask {}", config_.draw));
    for (const std::size_t unit : rng.sample(mask.size(), k)) mask = mask.with(unit, true);
    return Selection{.mask = std::move(mask)};
  }

 private:
  RandomConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const RandomConfig& config) {
  return std::make_unique<Random>(config);
}

}  // namespace strata
