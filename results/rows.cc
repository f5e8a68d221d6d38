#include "results/rows.h"

#include <array>
#include <bit>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "core/plan.h"
#include "core/sha256.h"
#include "results/json_text.h"
#include "results/row_values.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<RunStatus, std::string_view>, 4> kStatusNames = {
    {{RunStatus::kRunning, "running"},
     {RunStatus::kDone, "done"},
     {RunStatus::kFailed, "failed"},
     {RunStatus::kInterrupted, "interrupted"}}};

constexpr std::array<std::pair<JudgedAs, std::string_view>, 4> kVerdictNames = {
    {{JudgedAs::kYes, "yes"},
     {JudgedAs::kNo, "no"},
     {JudgedAs::kUnparsable, "unparsable"},
     {JudgedAs::kFailed, "failed"}}};

// Toggles have no name, and slopes another field: older tensors keep their ids.
constexpr std::array<std::pair<GainKind, std::string_view>, 2> kKindNames = {
    {{GainKind::kBothSides, "both_sides"}, {GainKind::kRegression, "regression"}}};

// Far above any model; keeps arithmetic on a foreign plan's layout in range.
constexpr int kMaxLayoutCount = 4096;

// Text that is no JSON is refused when the row is recorded; until then its id is that of the raw
// text.
json embedded(const std::string& text) {
  return parse_json(text.empty() ? "{}" : text).value_or(json(text));
}

// 0: not a whole number from 1 to the limit.
int count_of(const json& value) {
  return value.is_number_integer() && value >= 1 && value <= kMaxLayoutCount ? value.get<int>() : 0;
}

// nlohmann's default object keeps its keys sorted, so the dump is canonical.
std::string id_of(const json& content) {
  return sha256_hex(content.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace

std::string_view to_string(RunStatus status) {
  for (const auto& [value, name] : kStatusNames)
    if (value == status) return name;
  return "running";
}

Result<RunStatus> parse_run_status(std::string_view text) {
  for (const auto& [value, name] : kStatusNames)
    if (name == text) return value;
  return fail(ErrorKind::kInvalidFile,
              "run status: expected running, done, failed or interrupted, got '{}'", text);
}

std::string_view to_string(JudgedAs verdict) {
  for (const auto& [value, name] : kVerdictNames)
    if (value == verdict) return name;
  return "failed";
}

Result<JudgedAs> parse_judged_as(std::string_view text) {
  for (const auto& [value, name] : kVerdictNames)
    if (name == text) return value;
  return fail(ErrorKind::kInvalidFile, "verdict: expected yes, no, unparsable or failed, got '{}'",
              text);
}

static Result<HeadLayout> layout_from_json(const json& object, std::string_view what) {
  HeadLayout layout;
  try {
    const json& heads = object.at("layout");
    layout = {count_of(heads.at("layers")), count_of(heads.at("query_heads")),
              count_of(heads.at("kv_heads"))};
  } catch (const json::exception&) {
    return fail(ErrorKind::kInvalidFile, "{}: expected the JSON of a plan with a layout", what);
  }
  if (layout.layers == 0 || layout.query_heads == 0 || layout.kv_heads == 0 ||
      layout.query_heads % layout.kv_heads != 0)
    return fail(ErrorKind::kInvalidFile,
                "{}: expected counts of 1 to {} and query heads in groups, got {} layers, {} query "
                "heads, {} KV heads",
                what, kMaxLayoutCount, object["layout"]["layers"].dump(),
                object["layout"]["query_heads"].dump(), object["layout"]["kv_heads"].dump());
  return layout;
}

Result<AttentionPlan> parse_plan(const PlanRow& row) {
  const json plan = parse_json(row.plan_json).value_or(json());
  ASSIGN_OR_RETURN(const HeadLayout layout, layout_from_json(plan, "plan " + row.id));
  return AttentionPlan::from_json(plan, layout);
}

std::string context_json(const ScoreTensor& tensor) {
  const Mask& context = tensor.context;
  const HeadLayout& layout = context.layout();
  json object{{"granularity", to_string(context.granularity())},
              {"layout",
               {{"layers", layout.layers},
                {"query_heads", layout.query_heads},
                {"kv_heads", layout.kv_heads}}},
              {"mask", to_json(context)}};
  if (tensor.kind == GainKind::kSlope) object["derivative"] = true;
  for (const auto& [kind, kind_name] : kKindNames)
    if (kind == tensor.kind) object["kind"] = kind_name;
  return object.dump();
}

Status read_context(const std::string& text, std::string_view what, ScoreTensor& tensor) {
  const json object = parse_json(text).value_or(json());
  ASSIGN_OR_RETURN(const HeadLayout layout, layout_from_json(object, what));
  const auto name = object.find("granularity");
  if (name == object.end() || !name->is_string() || !object.contains("mask"))
    return fail(ErrorKind::kInvalidFile, "{}: expected a mask and its granularity", what);
  ASSIGN_OR_RETURN(const Granularity granularity, parse_granularity(name->get<std::string>()));
  ASSIGN_OR_RETURN(tensor.context, mask_from_json(object["mask"], granularity, layout));
  tensor.kind = GainKind::kToggle;
  if (object.value("derivative", json(false)) == json(true)) tensor.kind = GainKind::kSlope;
  if (!object.contains("kind")) return {};
  for (const auto& [kind, kind_name] : kKindNames)
    if (object["kind"] == kind_name) {
      tensor.kind = kind;
      return {};
    }
  return fail(ErrorKind::kInvalidFile,
              "{}: field 'kind': expected both_sides or regression, got {}", what,
              object["kind"].dump());
}

std::string data_id(const DataRow& data) {
  Sha256 hash;
  for (const DataRow::Item& item : data.items) hash.update(item.sample_id);
  return hash.hex_digest();
}

std::string experiment_id(const ExperimentRow& experiment) {
  return id_of({{"model", experiment.model_id},
                {"tokenizer", experiment.tokenizer_id},
                {"plan", experiment.plan_id},
                {"generation", embedded(experiment.generation_json)},
                {"data", experiment.data_id},
                {"numerics_version", experiment.numerics_version}});
}

std::string float32_bytes(const std::vector<float>& values) {
  std::string bytes;
  bytes.reserve(values.size() * sizeof(float));
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (unsigned shift = 0; shift < 32; shift += 8)
      bytes += static_cast<char>(bits >> shift & 0xff);
  }
  return bytes;
}

std::vector<float> float32_values(std::string_view bytes) {
  std::vector<float> values;
  values.reserve(bytes.size() / sizeof(float));
  for (std::size_t i = 0; i + sizeof(float) <= bytes.size(); i += sizeof(float)) {
    std::uint32_t bits = 0;
    for (std::size_t b = 0; b < sizeof(float); ++b)
      bits |= std::uint32_t{static_cast<unsigned char>(bytes[i + b])} << 8 * b;
    values.push_back(std::bit_cast<float>(bits));
  }
  return values;
}

std::string score_tensor_id(const ScoreTensorRow& row) {
  const ScoreTensor& tensor = row.tensor;
  return id_of({{"context", embedded(context_json(tensor))},
                {"samples", tensor.samples},
                {"clusters", tensor.clusters},
                {"positions", tensor.positions},
                {"context_nll", sha256_hex(float32_bytes(tensor.context_nll))},
                {"gains", sha256_hex(float32_bytes(tensor.gains))}});
}

std::string selection_id(const SelectionRow& selection) {
  const SelectionCost& cost = selection.cost;
  json content = {{"strategy", selection.strategy},
                  {"config", embedded(selection.config_json)},
                  {"model", selection.model_id},
                  {"plan", selection.plan_id},
                  {"mask", embedded(selection.mask_json)},
                  {"scores", embedded(selection.scores_json)},
                  {"standard_errors", embedded(selection.standard_errors_json)},
                  {"cost",
                   {{"forward_tokens", cost.forward_tokens},
                    {"layer_tokens", cost.layer_tokens},
                    {"flops", cost.flops},
                    {"evaluations", cost.evaluations},
                    {"seconds", cost.seconds},
                    {"peak_bytes", cost.peak_bytes}}},
                  {"supervision", selection.supervision},
                  {"calibration", selection.calibration_id},
                  {"seed", selection.seed},
                  {"diagnostics", embedded(selection.diagnostics_json)}};
  // Rows of older schemas keep their ids.
  if (selection.score_tensor_id) content["score_tensor"] = *selection.score_tensor_id;
  if (cost.backward_tokens > 0) content["cost"]["backward_tokens"] = cost.backward_tokens;
  if (selection.training_json != "null") content["training"] = embedded(selection.training_json);
  return id_of(content);
}

std::string run_id(const RunRow& run) {
  return id_of({{"config_hash", run.config_hash},
                {"config", embedded(run.config_json)},
                {"label", run.label},
                {"started", run.started}});
}

std::string execution_id(const ExecutionRow& execution) {
  return id_of({{"run", execution.run_id},
                {"build", execution.build},
                {"device", execution.device},
                {"threads", execution.threads},
                {"dtype", execution.dtype},
                {"cpu", execution.cpu}});
}

std::string judgement_id(const JudgementRow& row) {
  return id_of({{"experiment", row.experiment_id},
                {"sample", row.sample_id},
                {"execution", row.execution_id},
                {"judge", row.judge_model},
                {"endpoint", row.endpoint},
                {"settings", embedded(row.settings_json)},
                {"rubric", row.rubric},
                {"rubric_hash", row.rubric_hash},
                {"prompt_hash", row.prompt_hash},
                {"reported_model", row.reported_model},
                {"reply", row.reply},
                {"verdict", to_string(row.verdict)},
                {"official", row.official ? json(*row.official) : json()},
                {"attempts", row.attempts},
                {"error", row.error},
                {"latency_ms", row.latency_ms},
                {"judged", row.judged}});
}

}  // namespace strata
