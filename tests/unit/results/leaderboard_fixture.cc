#include "leaderboard_fixture.h"

#include <nlohmann/json.hpp>

#include "core/sha256.h"

namespace strata::test {

Board::Board(const std::string& path, int samples, const std::vector<std::string>& clusters)
    : store_(must(Store::open(path, Store::Mode::kReadWrite))) {
  must(store_.record(model_row()));
  must(store_.record(tokenizer_row()));
  use_samples(0, samples, clusters);
}

void Board::use_samples(int first, int count, const std::vector<std::string>& clusters,
                        const std::vector<std::string>& metadata) {
  data_ = {.id = {}, .benchmark = "niah", .items = {}};
  std::vector<SampleRow> rows;
  rows.reserve(static_cast<std::size_t>(count));
  for (int i = first; i < first + count; ++i) {
    rows.push_back(sample_row(i));
    if (!metadata.empty())
      rows.back().metadata_json = metadata[static_cast<std::size_t>(i - first)];
    data_.items.push_back({rows.back().id, ""});
  }
  data_.id = data_id(data_);
  for (std::size_t i = 0; i < clusters.size(); ++i) data_.items[i].cluster = clusters[i];
  must(store_.record(data_, rows));
}

void Board::add(const Entry& entry) {
  const Mask mask = Mask::of_layers(kLayout, entry.layers);
  MixerSpec cheap = SlidingWindow{entry.window, kSinks};
  if (entry.linear) cheap = LinearAttention{*entry.linear};
  const AttentionPlan plan =
      must(AttentionPlan::from_mask(mask, FullAttention{}, cheap, entry.rule));
  must(store_.record(plan_row(plan)));
  RunRow run = run_row(entry.label, runs_++);
  run.group = entry.group.empty() ? entry.label : entry.group;
  if (!entry.config_json.empty()) {
    run.config_json = entry.config_json;
    run.id = run_id(run);
  }
  if (!entry.benchmark.empty()) run.benchmark = entry.benchmark;
  if (!entry.benchmark_json.empty()) run.benchmark_config_json = entry.benchmark_json;
  run.decode_rule = entry.rule;
  run.window = entry.linear ? 0 : entry.window;
  if (entry.linear) run.sinks = 0;
  run.granularity = entry.granularity;
  run.budget_units.reset();
  if (entry.budget > 0) run.budget_units = entry.budget;
  must(store_.record(run));
  if (entry.with_selection) {
    SelectionRow selection = selection_row(plan);
    selection.mask_json = to_json(mask).dump();
    if (!entry.calibration.empty()) selection.calibration_id = sha256_hex(entry.calibration);
    if (!entry.diagnostics_json.empty()) selection.diagnostics_json = entry.diagnostics_json;
    selection.id.clear();
    run.selection_id = must(store_.record(selection));
  }
  ExperimentRow experiment = experiment_row(plan, data_);
  if (!entry.model.empty()) {
    ModelRow model = model_row();
    model.id = experiment.model_id = sha256_hex(entry.model);
    model.name = entry.model;
    must(store_.record(model));
    experiment.id.clear();
  }
  run.experiment_id = must(store_.record(experiment));
  ExecutionRow execution = execution_row(run.id);
  execution.device = entry.device;
  execution.id.clear();
  const std::string execution_id = must(store_.record(execution));
  for (std::size_t i = 0; i < entry.nll.size(); ++i) {
    ResponseRow response =
        response_row(*run.experiment_id, data_.items[i].sample_id, execution_id, entry.nll[i]);
    response.metrics = {{"gen_contains", entry.contains.empty() ? 0 : entry.contains[i]},
                        {"tf_exact", entry.exact.empty() ? 0 : entry.exact[i]}};
    if (entry.benchmark == "ruler")
      response.metrics["string_match_all"] = response.metrics["gen_contains"];
    if (!entry.generated) response.metrics = {{"answer_nll", entry.nll[i]}};
    response.kv_bytes = entry.kv_bytes;
    if (!entry.peak_bytes.empty()) response.peak_bytes = entry.peak_bytes[i];
    response.prefill_flops = entry.prefill_flops;
    must(store_.record(response));
  }
  run.status = entry.status;
  run.finished = run.started;
  run.calibration_nll = entry.calibration_nll;
  must(store_.update(run));
}

void Board::add_text(Entry entry) {
  entry.benchmark = "local_text";
  entry.generated = false;
  add(entry);
}

void Board::add_references(const std::vector<double>& full_contains,
                           const std::vector<double>& none_contains,
                           const std::string& benchmark_json) {
  std::vector<double> full, none;
  for (std::size_t i = 0; i < data_.items.size(); ++i) {
    full.push_back(0.1);
    none.push_back(i % 2 == 0 ? 2.0 : 2.2);
  }
  add({.label = "full",
       .group = {},
       .layers = {0, 1, 2, 3, 4, 5, 6, 7},
       .nll = full,
       .contains = full_contains,
       .exact = full_contains,
       .budget = 0,
       .kv_bytes = 4000,
       .prefill_flops = 1e9,
       .benchmark_json = benchmark_json});
  add({.label = "none",
       .group = {},
       .layers = {},
       .nll = none,
       .contains = none_contains,
       .exact = none_contains,
       .budget = 0,
       .kv_bytes = 1000,
       .prefill_flops = 6e8,
       .benchmark_json = benchmark_json});
}

LeaderboardTable Board::table() const { return must(leaderboard(store_, {})); }

LeaderboardBlock Board::only_block() const {
  LeaderboardTable table = this->table();
  EXPECT_EQ(table.blocks.size(), 1U);
  return table.blocks.at(0);
}

Small::Small(const TemporaryFolder& folder) : board_(folder.file("small.db"), 4) {
  board_.add_references();
  const auto flat = [](double nll) { return std::vector<double>(4, nll); };
  board_.add({.label = "periodic[0]",
              .group = "periodic",
              .layers = {0},
              .nll = flat(1.1),
              .contains = {1, 0, 0, 0},
              .exact = {},
              .calibration_nll = 1.5});
  board_.add({.label = "periodic[1]",
              .group = "periodic",
              .layers = {4},
              .nll = flat(0.9),
              .contains = {1, 1, 0, 0},
              .exact = {},
              .calibration_nll = 1.8});
  board_.add({.label = "random[0]", .group = "random", .layers = {2}, .nll = flat(1.7)});
  board_.add({.label = "random[1]", .group = "random", .layers = {3}, .nll = flat(1.9)});
  board_.add({.label = "random[2]", .group = "random", .layers = {5}, .nll = flat(2.3)});
  board_.add({.label = "nll_guided[restore]",
              .group = {},
              .layers = {1},
              .nll = {0.5, 0.3, 0.7, 0.5},
              .contains = {1, 1, 1, 0},
              .exact = {1, 1, 0, 0},
              .with_selection = true});
  board_.add({.label = "inverted", .group = {}, .layers = {7}, .nll = flat(2.5)});
}

}  // namespace strata::test
