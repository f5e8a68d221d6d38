#include <filesystem>

#include "core/json_reader.h"
#include "models/checkpoint/json_fields.h"
#include "strategies/builtin.h"

namespace strata {
namespace {

constexpr std::uint64_t kMaxPlanBytes = 16 << 20;

class File final : public SelectionStrategy {
 public:
  explicit File(FileConfig config) : config_(std::move(config)) {}
  bool uses_budget() const override { return FileConfig::kUsesBudget; }
  std::string label() const override {
    return "file[" + std::filesystem::path(config_.path).filename().string() + "]";
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext&) override {
    if (config_.path.empty())
      return fail(make_error(ErrorKind::kInvalidArgument, "strategy.path is not set")
                      .with_hint("strategy=file strategy.path=plan.json"));
    ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(config_.path, kMaxPlanBytes));
    Result<Mask> mask = read(text, request);
    if (!mask) return fail(std::move(mask).error().at(config_.path));
    return Selection{.mask = *std::move(mask)};
  }

 private:
  static Result<Mask> read(const std::string& text, const SelectionRequest& request) {
    ASSIGN_OR_RETURN(nlohmann::json json, parse_json(text));
    for (const char* key : {"transform", "plan"})  // strata.json of a trained model; selection.json
      if (json.is_object() && json.contains(key)) json = nlohmann::json(json[key]);
    if (json.is_object() && json.contains("cells")) {
      ASSIGN_OR_RETURN(const AttentionPlan plan, AttentionPlan::from_json(json, request.layout));
      // The window comes from mixer=, so that a mask can be tried with another.
      return full_attention_of(plan);
    }
    if (!json.is_object() || !json.contains("mask"))
      return fail(make_error(ErrorKind::kInvalidFile, "no 'cells' and no 'mask'; expected a plan")
                      .with_hint("`strata select -o plan.json` writes one"));
    Granularity granularity = Granularity::kLayer;
    if (json.contains("granularity") && json["granularity"].is_string()) {
      ASSIGN_OR_RETURN(granularity, parse_granularity(json["granularity"].get<std::string>()));
    }
    return mask_from_json(json["mask"], granularity, request.layout);
  }

  FileConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const FileConfig& config) {
  return std::make_unique<File>(config);
}

}  // namespace strata
