#include "benchmarks/niah_grid.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "benchmarks/haystack_prompt.h"
#include "benchmarks/scoring.h"
#include "core/config/binder.h"
#include "core/sha256.h"

namespace strata {
namespace {

constexpr std::string_view kSystem =
    "You are a helpful AI bot that answers questions for a user. Keep your response short and "
    "direct";
constexpr std::string_view kOnlyTheDocument =
    " Don't give information outside the document or repeat your findings";
constexpr std::string_view kAnswerBegun = "Here is the most relevant sentence in the context:";

struct Cell {
  std::int64_t index = 0;
  std::int64_t length = 0;
  double depth = 0;  // percent
};

// n numbers from low to high, as numpy's linspace.
double spaced(double low, double high, std::int64_t i, std::int64_t n) {
  return n == 1 ? low : low + (high - low) * static_cast<double>(i) / static_cast<double>(n - 1);
}

class NiahGrid final : public Benchmark {
 public:
  explicit NiahGrid(NiahGridConfig config) : config_(std::move(config)) {}
  std::string_view name() const override { return "niah_grid"; }

  Result<std::vector<Sample>> samples(const SampleRequest& request) const override;
  std::map<std::string, double> score(const Sample& sample,
                                      const Response& response) const override;
  std::int64_t generation_limit(const Sample&) const override { return config_.generation_limit; }
  Result<std::string> data_id(const SampleRequest& request) const override;

 private:
  Status check(const SampleRequest& request, std::size_t cells) const;
  PromptFrame frame(std::int64_t length) const;
  Result<Sample> build(const SampleRequest& request, const Haystack& haystack,
                       const Cell& cell) const;

  NiahGridConfig config_;
};

Status NiahGrid::check(const SampleRequest& request, std::size_t cells) const {
  const auto refuse = [](std::string_view key, std::string expected, std::string got) {
    return make_error(ErrorKind::kInvalidArgument, "expected {}, got {}", expected, got)
        .at(fmt::format("benchmark.{}", key));
  };
  if (request.split == Split::kCalibration)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "niah_grid hides the same sentences in every sample, so nothing can be "
                           "calibrated on it")
                    .at("calibration")
                    .with_hint("calibration=niah or calibration=multi_passkey"));
  if (request.count > static_cast<std::int64_t>(cells))
    return fail(refuse("samples", fmt::format("at most {} (lengths × depths), or 0 for all", cells),
                       std::to_string(request.count)));
  if (config_.min_length > config_.max_length)
    return fail(refuse("min_length", fmt::format("at most {} (max_length)", config_.max_length),
                       std::to_string(config_.min_length)));
  if (config_.needles.empty() || config_.keywords.empty() || config_.answer.empty())
    return fail(refuse(config_.needles.empty()    ? "needles"
                       : config_.keywords.empty() ? "keywords"
                                                  : "answer",
                       "at least one", "none"));
  return {};
}

PromptFrame NiahGrid::frame(std::int64_t length) const {
  const bool tags = config_.prompt == GridPrompt::kAnthropic;
  return {.system = std::string(tags ? "" : kSystem),
          .head = tags ? "<context>\n" : "",
          .tail = fmt::format("{}\n\n{}{}", tags ? "\n</context>" : "", config_.question,
                              kOnlyTheDocument),
          .answer_prefix = std::string(tags ? kAnswerBegun : ""),
          .answer = (tags ? " " : "") + config_.answer,
          .length = length,
          .generation_limit = config_.generation_limit};
}

Result<std::vector<Sample>> NiahGrid::samples(const SampleRequest& request) const {
  std::vector<Cell> cells;
  for (const std::int64_t length : grid_lengths(config_))
    for (const double depth : grid_depths(config_))
      cells.push_back({static_cast<std::int64_t>(cells.size()), length, depth});
  RETURN_IF_ERROR(check(request, cells.size()));
  if (request.count > 0) cells.resize(static_cast<std::size_t>(request.count));
  ASSIGN_OR_RETURN(
      const Haystack haystack,
      make_haystack({haystack_of(config_.haystack), config_.haystack_start, config_.max_length},
                    request));
  std::vector<Sample> samples;
  samples.reserve(cells.size());
  for (const Cell& cell : cells) {
    ASSIGN_OR_RETURN(Sample sample, build(request, haystack, cell));
    samples.push_back(std::move(sample));
  }
  return samples;
}

Result<Sample> NiahGrid::build(const SampleRequest& request, const Haystack& haystack,
                               const Cell& cell) const {
  const std::string stream = fmt::format("niah_grid/{}/{}", to_string(request.split), cell.index);
  const auto open = [&](std::int64_t length) {
    return HaystackPrompt(request, haystack, haystack.open({cell.index, stream, request.seed, {}}),
                          frame(length));
  };
  // Template, question and answer stand beside the context, which has length − buffer tokens.
  ASSIGN_OR_RETURN(const FittedPrompt empty, open(cell.length).empty());
  const std::int64_t whole = empty.length() + cell.length - config_.buffer;
  if (request.max_positions > 0 && whole > request.max_positions)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} (the model's positions), but context, question "
                           "and generation take {}",
                           request.max_positions, whole)
                    .at("benchmark.max_length"));
  HaystackPrompt prompt = open(whole);
  for (const std::string& needle : config_.needles) prompt.insert("\n" + needle + "\n");
  const std::int64_t budget = cell.length - config_.buffer - prompt.inserted_tokens();
  if (budget < 1)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected more than {} (benchmark.buffer and the needles), got {}",
                           config_.buffer + prompt.inserted_tokens(), cell.length)
                    .at("benchmark.min_length"));
  const double step = (100 - cell.depth) / static_cast<double>(std::ssize(config_.needles));
  for (std::size_t i = 0; i < config_.needles.size(); ++i)
    prompt.inserted()[i].before =
        prompt.place_at((cell.depth + step * static_cast<double>(i)) / 100, budget);
  ASSIGN_OR_RETURN(FittedPrompt fitted, prompt.fit(budget));

  nlohmann::json metadata = prompt.metadata(fitted, config::enum_name(config_.haystack));
  const auto context = fitted.context_tokens();
  const auto needle = fitted.tokens_of(fitted.inserted[0]);
  const std::int64_t away = fitted.distance(fitted.inserted.back());
  metadata["cell"] = {{"length", cell.length}, {"depth", cell.depth}};
  metadata["question"] = config_.question;
  metadata["needle"] = needle;
  metadata["depth"] =
      static_cast<double>(needle[0] - context[0]) / static_cast<double>(context[1] - context[0]);
  metadata["distance"] = away;  // of the nearest
  if (request.window > 0) {
    metadata["window"] = request.window;
    metadata["beyond_window"] = away >= request.window;
  }
  metadata["keywords"] = config_.keywords;
  return prompt.finish(std::move(fitted), std::move(metadata), {config_.answer}, name());
}

std::map<std::string, double> NiahGrid::score(const Sample& sample,
                                              const Response& response) const {
  auto scores = score_answer(sample, response);
  if (!response.text) return scores;
  const double share = string_match_all(sample.answer_given + *response.text, config_.keywords);
  scores["string_match_all"] = share;
  scores["gen_contains"] = share == 1 ? 1 : 0;
  return scores;
}

Result<std::string> NiahGrid::data_id(const SampleRequest& request) const {
  ASSIGN_OR_RETURN(const std::string haystack,
                   haystack_content_id(haystack_of(config_.haystack), request));
  return Sha256()
      .update("niah_grid 1")
      .update(haystack)
      .update(config::config_hash(config::to_json(config_)))
      .hex_digest();
}

}  // namespace

std::unique_ptr<Benchmark> make_niah_grid(NiahGridConfig config) {
  STRATA_CHECK(config.lengths >= 1 && config.depths >= 1 && config.min_length >= 1);
  return std::make_unique<NiahGrid>(std::move(config));
}

std::vector<std::int64_t> grid_lengths(const NiahGridConfig& config) {
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < config.lengths; ++i)
    out.push_back(std::llrint(spaced(static_cast<double>(config.min_length),
                                     static_cast<double>(config.max_length), i, config.lengths)));
  return out;
}

std::vector<double> grid_depths(const NiahGridConfig& config) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < config.depths; ++i) {
    const double linear = spaced(0, 100, i, config.depths);
    const bool end = linear == 0 || linear == 100;
    if (config.depth_spacing == DepthSpacing::kLinear || end)
      out.push_back(std::rint(linear));
    else
      out.push_back(std::rint(1e5 / (1 + std::exp(0.1 * (linear - 50)))) / 1e3);
  }
  return out;
}

}  // namespace strata
