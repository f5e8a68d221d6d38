#include "strategies/builtin.h"

namespace strata {
namespace {

class Ends final : public SelectionStrategy {
 public:
  std::string label() const override { return "ends"; }
  std::string group() const override { return "ends"; }
  Result<Selection> select(const SelectionRequest& request, SelectionContext&) override {
    ASSIGN_OR_RETURN(const std::int64_t kept, whole_layers_of(request, "ends"));
    const std::int64_t layers = request.layout.layers, first = (kept + 1) / 2;
    std::vector<int> ends;
    for (std::int64_t i = 0; i < kept; ++i)
      ends.push_back(static_cast<int>(i < first ? i : layers - kept + i));
    return Selection{.mask = Mask::of_layers(request.layout, ends)};
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const EndsConfig&) {
  return std::make_unique<Ends>();
}

}  // namespace strata
