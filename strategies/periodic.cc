#include "strategies/builtin.h"

namespace strata {
namespace {

class Periodic final : public SelectionStrategy {
 public:
  explicit Periodic(PeriodicConfig config) : config_(config) {}
  std::string label() const override {
    return fmt::format("periodic{}[{}]", config_.by == PeriodicBy::kStride ? "_stride" : "",
                       config_.offset);
  }
  std::string group() const override { return "periodic"; }

  Result<Variants> variants(const SelectionRequest& request) const override {
    if (config_.offset >= 0) return Variants{};
    ASSIGN_OR_RETURN(const Spacing spacing, spacing_of(request));
    Variants variants{"offset", {}};
    for (std::int64_t offset = 0; offset < spacing.offsets; ++offset)
      variants.values.push_back(offset);
    return variants;
  }

  Result<Selection> select(const SelectionRequest& request, SelectionContext&) override {
    ASSIGN_OR_RETURN(const Spacing spacing, spacing_of(request));
    if (config_.offset < 0)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.offset is not set, which means every offset; expected one")
                      .with_hint(fmt::format("strategy.offset=0 to {}", spacing.offsets - 1)));
    const std::int64_t layers = request.layout.layers;
    if (config_.offset >= spacing.offsets)
      return fail(ErrorKind::kInvalidArgument,
                  "strategy.offset is {}; expected 0 to {} for {} of {} layers", config_.offset,
                  spacing.offsets - 1, spacing.kept, layers);
    std::vector<int> kept;
    if (config_.by == PeriodicBy::kStride) {
      for (std::int64_t layer = config_.offset; layer < layers; layer += spacing.stride)
        kept.push_back(static_cast<int>(layer));
    } else {
      for (std::int64_t j = 0; j < spacing.kept; ++j)
        kept.push_back(static_cast<int>(config_.offset + j * layers / spacing.kept));
    }
    return Selection{.mask = Mask::of_layers(request.layout, kept)};
  }

 private:
  struct Spacing {
    std::int64_t kept = 0, stride = 0, offsets = 0;
  };
  Result<Spacing> spacing_of(const SelectionRequest& request) const {
    Spacing spacing;
    ASSIGN_OR_RETURN(spacing.kept, whole_layers_of(request, "periodic"));
    spacing.stride = config_.stride > 0 ? config_.stride : request.layout.layers / spacing.kept;
    spacing.offsets =
        config_.by == PeriodicBy::kStride ? spacing.stride : request.layout.layers / spacing.kept;
    return spacing;
  }

  PeriodicConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const PeriodicConfig& config) {
  return std::make_unique<Periodic>(config);
}

}  // namespace strata
