#include "rows_fixture.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/sha256.h"

namespace strata::test {

TemporaryFolder::TemporaryFolder() {
  // In memory where there is such a folder: these tests wait for nothing but the disk.
  std::error_code ignored;
  const std::filesystem::path memory = "/dev/shm";
  const bool in_memory = ::access(memory.c_str(), W_OK) == 0;
  std::string name = ((in_memory ? memory : std::filesystem::temp_directory_path(ignored)) /
                      "strata-results-XXXXXX")
                         .string();
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

ModelRow model_row() { return {sha256_hex("model"), "toy", "/models/toy", kLayout, 1234}; }

TokenizerRow tokenizer_row() { return {sha256_hex("tokenizer"), "toy"}; }

AttentionPlan plan_keeping(const std::vector<int>& layers, DecodeRule rule) {
  return must(AttentionPlan::from_mask(Mask::of_layers(kLayout, layers), FullAttention{},
                                       SlidingWindow{kWindow, kSinks}, rule));
}

PlanRow plan_row(const AttentionPlan& plan) { return {plan.id(), plan.to_json().dump()}; }

SampleRow sample_row(int number) {
  return {sha256_hex(fmt::format("sample {}", number)),
          "niah",
          fmt::format("Where is it?\n\"{}\" – naïve\ttab", number),
          100 + number,
          {fmt::format("answer {}", number), "second|answer"},
          fmt::format(R"({{"depth":0.5,"distance":{}}})", 20 + number)};
}

DataRow data_row(int samples) {
  DataRow data{.id = {}, .benchmark = "niah", .items = {}};
  for (int i = 0; i < samples; ++i) data.items.push_back({sample_row(i).id, ""});
  data.id = data_id(data);
  return data;
}

ExperimentRow experiment_row(const AttentionPlan& plan, const DataRow& data) {
  ExperimentRow row{.id = {},
                    .model_id = model_row().id,
                    .tokenizer_id = tokenizer_row().id,
                    .plan_id = plan.id(),
                    .generation_json = R"({"dtype":"float32","limit":8})",
                    .data_id = data.id,
                    .numerics_version = 1};
  row.id = experiment_id(row);
  return row;
}

SelectionRow selection_row(const AttentionPlan& plan) {
  SelectionRow row{.id = {},
                   .strategy = "nll_guided",
                   .config_json = R"({"mode":"restore"})",
                   .model_id = model_row().id,
                   .plan_id = plan.id(),
                   .mask_json = "[[0],[1],[0],[0],[0],[0],[0],[0]]",
                   .scores_json = "[[0.125],[2.5],[-0.25],[null],[0.0],[0.0],[0.0],[1.5]]",
                   .standard_errors_json = "[[0.1],[0.2],[0.3],[null],[0.1],[0.1],[0.1],[0.4]]",
                   .cost = {.forward_tokens = 8000,
                            .layer_tokens = 20000,
                            .flops = 1.5e12,
                            .evaluations = 40,
                            .seconds = 3.25,
                            .peak_bytes = 1 << 20},
                   .supervision = "answers",
                   .calibration_id = sha256_hex("calibration"),
                   .seed = (std::int64_t{1} << 53) - 1,
                   .diagnostics_json = R"({"stable":true})"};
  row.id = selection_id(row);
  return row;
}

ScoreTensor score_tensor() {
  ScoreTensor tensor{.context = Mask(Granularity::kLayer, kLayout, false),
                     .samples = {"first", "second", "third"},
                     .clusters = {"", "book", "book"},
                     .positions = {2, 3, 2}};
  for (int i = 0; i < 7; ++i) tensor.context_nll.push_back(3.0F + 0.1F * static_cast<float>(i));
  for (int i = 0; i < 7 * kLayout.layers; ++i)
    tensor.gains.push_back(static_cast<float>(i % 13) / 3.0F - 1.0F);
  return tensor;
}

RunRow run_row(const std::string& label, int second) {
  RunRow row;
  row.config_hash = sha256_hex("config " + label);
  row.config_json = R"({"strategy":"nll_guided"})";
  row.started = fmt::format("2025-01-31T12:{:02}:{:02}.000000Z", second / 60, second % 60);
  row.strategy = "nll_guided";
  row.label = label;
  row.group = label;
  row.budget_units = 1;
  row.budget_fraction = 0.25;
  row.window = kWindow;
  row.sinks = kSinks;
  row.benchmark = "niah";
  row.benchmark_config_json = R"({"length":512,"task":"single"})";
  row.seeds_json = R"({"calibration":7})";
  row.id = run_id(row);
  return row;
}

ExecutionRow execution_row(const std::string& run_id) {
  ExecutionRow row{.id = {},
                   .run_id = run_id,
                   .build = "0.1.0",
                   .device = "cpu",
                   .threads = 1,
                   .dtype = "float32",
                   .cpu = "Toy CPU"};
  row.id = execution_id(row);
  return row;
}

ResponseRow response_row(const std::string& experiment, const std::string& sample,
                         const std::string& execution, double nll) {
  return {.experiment_id = experiment,
          .sample_id = sample,
          .execution_id = execution,
          .text = std::string("a\0b\xff\n", 5),  // a model may generate any bytes
          .tokens = {1, 2, 49151},
          .answer_nll = {nll - 0.1, nll + 0.1},
          .argmax = {3, 4},
          .metrics = {{"gen_contains", 1}, {"tf_exact", 0}},
          .timings_ms = {{"prefill_ms", 12.5}},
          .prefill_flops = 7e8,
          .decode_flops = 1e7,
          .kv_bytes = 1750,
          .peak_bytes = 52000};
}

JudgementRow judgement_row(const ResponseRow& response, int second) {
  JudgementRow row;
  row.experiment_id = response.experiment_id;
  row.sample_id = response.sample_id;
  row.execution_id = response.execution_id;
  row.judge_model = "judge-1";
  row.endpoint = "127.0.0.1:8001";
  row.settings_json = R"({"max_tokens":10,"temperature":0.0})";
  row.rubric = "longmemeval/answer";
  row.rubric_hash = sha256_hex("rubric");
  row.prompt_hash = sha256_hex("prompt " + response.sample_id);
  row.reported_model = "judge-1-2025";
  row.reply = "Yes.";
  row.verdict = JudgedAs::kYes;
  row.official = true;
  row.attempts = 2;
  row.latency_ms = 412.5;
  row.judged = fmt::format("2025-02-01T12:{:02}:{:02}.000000Z", second / 60, second % 60);
  row.id = judgement_id(row);
  return row;
}

World make_world(const std::string& path, int responses) {
  World world{.store = must(Store::open(path, Store::Mode::kReadWrite)),
              .data = data_row(responses),
              .experiment = {},
              .selection = {},
              .run = {},
              .execution = {},
              .responses = {},
              .judgement = {}};
  Store& store = world.store;
  const AttentionPlan plan = plan_keeping({1});
  must(store.record(model_row()));
  must(store.record(tokenizer_row()));
  must(store.record(plan_row(plan)));
  std::vector<SampleRow> samples;
  samples.reserve(static_cast<std::size_t>(responses));
  for (int i = 0; i < responses; ++i) samples.push_back(sample_row(i));
  must(store.record(world.data, samples));
  world.experiment = experiment_row(plan, world.data);
  must(store.record(world.experiment));
  world.selection = selection_row(plan);
  must(store.record(world.selection));
  world.run = run_row("nll_guided[restore]", 0);
  must(store.record(world.run));
  world.execution = execution_row(world.run.id);
  must(store.record(world.execution));
  for (int i = 0; i < responses; ++i) {
    world.responses.push_back(
        response_row(world.experiment.id, sample_row(i).id, world.execution.id, 0.1 * i));
    must(store.record(world.responses.back()));
  }
  if (responses > 0) {
    world.judgement = judgement_row(world.responses[0], 0);
    must(store.record(world.judgement));
  }
  return world;
}

}  // namespace strata::test
