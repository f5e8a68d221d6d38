// `full` and `none`, the two ends of every table, and `native`, what the checkpoint is by itself.
// They ignore the budget.
#include "strategies/builtin.h"

namespace strata {
namespace {

class Reference final : public SelectionStrategy {
 public:
  explicit Reference(bool keep) : keep_(keep) {}
  bool uses_budget() const override { return FullConfig::kUsesBudget; }  // nor does none
  std::string label() const override { return keep_ ? "full" : "none"; }
  std::string group() const override { return label(); }
  Result<Selection> select(const SelectionRequest& request, SelectionContext&) override {
    return Selection{.mask = Mask(request.granularity, request.layout, keep_)};
  }

 private:
  bool keep_;
};

class Native final : public SelectionStrategy {
 public:
  bool uses_budget() const override { return NativeConfig::kUsesBudget; }
  std::string label() const override { return "native"; }
  std::string group() const override { return label(); }
  Result<Selection> select(const SelectionRequest& request, SelectionContext&) override {
    return Selection{.mask = full_attention_of(request.native), .plan = request.native};
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const NativeConfig&) {
  return std::make_unique<Native>();
}
std::unique_ptr<SelectionStrategy> make_strategy(const FullConfig&) {
  return std::make_unique<Reference>(true);
}
std::unique_ptr<SelectionStrategy> make_strategy(const NoneConfig&) {
  return std::make_unique<Reference>(false);
}

}  // namespace strata
