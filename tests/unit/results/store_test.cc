#include "results/store.h"

#include <fmt/ranges.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/sample.h"
#include "results/writer_lock.h"
#include "rows_fixture.h"

namespace strata::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string dump_of(const Store& store, Store::Timings timings = Store::Timings::kInclude) {
  std::ostringstream out;
  must(store.canonical_dump(out, timings));
  return out.str();
}

// Runs SQL on the file behind the store's back.
void edit(const std::string& path, const std::string& sql) {
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(handle);
  sqlite3_close(handle);
}

TEST(Store, GivesBackEveryRowAsItWasRecorded) {
  const TemporaryFolder folder;
  const World world = make_world(folder.file("a.db"));
  const WriterLock writer = must(WriterLock::acquire(folder.file("a.db")));  // it is running
  const Store store = must(Store::open(folder.file("a.db"), Store::Mode::kReadOnly));
  EXPECT_EQ(must(store.model(model_row().id)), model_row());
  EXPECT_EQ(must(store.experiment(world.experiment.id)), world.experiment);
  EXPECT_EQ(must(store.selection(world.selection.id)), world.selection);
  EXPECT_EQ(must(store.run(world.run.id)), world.run);
  EXPECT_EQ(must(store.execution(world.execution.id)), world.execution);
  EXPECT_EQ(must(store.data(world.data.id)), world.data);
  EXPECT_THAT(must(store.samples_of(world.data.id)), ElementsAre(sample_row(0), sample_row(1)));
  std::vector<ResponseRow> expected = world.responses;
  std::sort(expected.begin(), expected.end(),
            [](const auto& a, const auto& b) { return a.sample_id < b.sample_id; });
  EXPECT_EQ(must(store.responses_of(world.experiment.id)), expected);
  EXPECT_THAT(must(store.judgements_of(world.experiment.id)), ElementsAre(world.judgement));
  const PlanRow plan = must(store.plan(world.experiment.plan_id));
  EXPECT_EQ(must(parse_plan(plan)), plan_keeping({1}));
  EXPECT_THAT(must(store.check()), IsEmpty());
}

TEST(Store, KeepsDoublesToTheLastBit) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"), 1);
  RunRow again = run_row("other", 1);
  again.calibration_nll = 0.1 + 0.2;
  must(world.store.record(again));
  EXPECT_EQ(*must(world.store.run(again.id)).calibration_nll, 0.1 + 0.2);
  ResponseRow response = world.responses[0];
  response.execution_id = must(world.store.record(execution_row(again.id)));
  response.answer_nll = {1.0 / 3, 5e-324, 1.7976931348623157e308};
  must(world.store.record(response));
  const auto rows = must(world.store.responses_of(world.experiment.id));
  EXPECT_THAT(rows, testing::Contains(response));
}

TEST(Store, RecordingTheSameRowsAgainChangesNothing) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  const std::string before = dump_of(make_world(path).store);
  EXPECT_EQ(dump_of(make_world(path).store), before);
}

TEST(Store, FillsInEmptyIdsAndRefusesWrongOnes) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  ExperimentRow experiment = world.experiment;
  experiment.id.clear();
  EXPECT_EQ(must(world.store.record(experiment)), world.experiment.id);
  experiment.id = "abc";
  const auto result = world.store.record(experiment);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().text(),
            "experiment: the row says id abc, its content has " + world.experiment.id);
}

TEST(Store, IdsDoNotDependOnTheSpellingOfJson) {
  ExperimentRow row = experiment_row(plan_keeping({1}), data_row(1));
  const std::string id = row.id;
  row.generation_json = "{ \"limit\": 8,\n \"dtype\": \"float32\" }";
  EXPECT_EQ(experiment_id(row), id);
  row.generation_json = R"({"limit":9,"dtype":"float32"})";
  EXPECT_NE(experiment_id(row), id);
}

TEST(Store, TheIdOfADataSetIsTheContentIdOfItsSamples) {
  std::vector<Sample> samples(2);
  samples[0].id = sample_row(0).id;
  samples[1].id = sample_row(1).id;
  EXPECT_EQ(data_id(data_row(2)), content_id(samples));
}

TEST(Store, TheSameIdWithOtherContentIsAnError) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  SampleRow sample = sample_row(0);
  sample.answers = {"forged"};
  const auto result = world.store.record(world.data, std::vector{sample});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().text(), folder.file("a.db") + ": table samples, row " + sample.id +
                                       ": the same id with other content: answers_json is "
                                       "[\"answer 0\",\"second|answer\"] in the "
                                       "database, [\"forged\"] in the new row\n"
                                       "  hint: equal ids mean equal content; one of the two "
                                       "databases was edited or its build has a bug");
  EXPECT_EQ(must(world.store.samples_of(world.data.id))[0], sample_row(0));
}

TEST(Store, NamesAndPathsAreHintsOfWhichTheFirstStays) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  ModelRow moved = model_row();
  moved.path_hint = "/elsewhere";
  must(world.store.record(moved));
  EXPECT_EQ(must(world.store.model(moved.id)).path_hint, model_row().path_hint);
  moved.parameters += 1;
  EXPECT_FALSE(world.store.record(moved));
}

TEST(Store, RefusesRowsWhoseParentsAreMissing) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  ResponseRow orphan = world.responses[0];
  orphan.execution_id = "nowhere";
  const Status status = world.store.record(orphan);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("FOREIGN KEY constraint failed"));
}

TEST(Store, KeepsEveryCallOfAJudge) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  JudgementRow failed = judgement_row(world.responses[1], 1);
  failed.id.clear();
  failed.reply.clear();
  failed.reported_model.clear();
  failed.error = "HTTP status 500";
  failed.verdict = JudgedAs::kFailed;
  failed.official.reset();
  failed.id = must(world.store.record(failed));
  JudgementRow again = judgement_row(world.responses[1], 2);
  again.official = false;
  again.verdict = JudgedAs::kUnparsable;
  again.id.clear();
  again.id = must(world.store.record(again));
  EXPECT_THAT(must(world.store.judgements_of(world.experiment.id)),
              ElementsAre(world.judgement, failed, again));
  EXPECT_THAT(must(world.store.check()), IsEmpty());
  JudgementRow forged = again;
  forged.reply = "no";
  EXPECT_THAT(world.store.record(forged).error().message, HasSubstr("judgement: the row says id"));
  JudgementRow orphan = judgement_row(world.responses[1], 3);
  orphan.id.clear();
  orphan.sample_id = "nowhere";
  EXPECT_THAT(world.store.record(orphan).error().message,
              HasSubstr("FOREIGN KEY constraint failed"));
}

TEST(Store, NoticesAVerdictThatWasEdited) {
  const TemporaryFolder folder;
  const World world = make_world(folder.file("a.db"));
  edit(folder.file("a.db"), "UPDATE judgements SET verdict = 'no'");
  EXPECT_THAT(must(world.store.check()),
              ElementsAre(HasSubstr(fmt::format("table judgements, row {}: its content has id",
                                                world.judgement.id))));
}

TEST(Store, MergingBringsJudgements) {
  const TemporaryFolder folder;
  const World world = make_world(folder.file("a.db"));
  Store other = must(Store::open(folder.file("b.db"), Store::Mode::kReadWrite));
  must(other.merge(world.store));
  must(other.merge(world.store));
  EXPECT_THAT(must(other.judgements_of(world.experiment.id)), ElementsAre(world.judgement));
  EXPECT_EQ(dump_of(other), dump_of(world.store));
}

TEST(Store, RefusesNumbersThatAreNotFiniteAndTextThatIsNoJson) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"), 1);
  ResponseRow response = world.responses[0];
  response.execution_id =
      must(world.store.record(execution_row(must(world.store.record(run_row("x", 5))))));
  response.answer_nll = {0.5, std::numeric_limits<double>::infinity()};
  EXPECT_EQ(world.store.record(response).error().text(),
            "answer NLL at position 1: expected a finite number, got inf\n"
            "  hint: the model's logits overflowed; try dtype=float32");
  response.answer_nll = {0.5};
  response.prefill_flops = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(world.store.record(response).error().message,
            "table responses, column prefill_flops: expected a finite number, got nan");
  RunRow run = run_row("bad json", 6);
  run.seeds_json = "{seed: 1}";
  run.id.clear();
  EXPECT_EQ(world.store.record(run).error().message, "seeds: expected JSON, got '{seed: 1}'");
}

TEST(Store, RefusesAPlanThatIsNotTheOneItsIdSays) {
  const TemporaryFolder folder;
  Store store = must(Store::open(folder.file("a.db"), Store::Mode::kReadWrite));
  PlanRow row = plan_row(plan_keeping({1}));
  row.id = plan_keeping({2}).id();
  EXPECT_THAT(store.record(row).error().message, HasSubstr("plan: the row says id " + row.id));
  EXPECT_THAT(store.record(PlanRow{"x", "{}"}).error().message,
              "plan x: expected the JSON of a plan with a layout");
  auto json = plan_keeping({1}).to_json();
  json["layout"]["kv_heads"] = 0;
  EXPECT_THAT(store.record(PlanRow{"x", json.dump()}).error().message, HasSubstr("0 KV heads"));
}

TEST(Store, ARunMovesOnAndKeepsWhatNeverChanges) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  RunRow run = world.run;
  run.status = RunStatus::kDone;
  run.finished = "2025-01-31T12:05:00.000000Z";
  run.selection_id = world.selection.id;
  run.experiment_id = world.experiment.id;
  run.calibration_nll = 0.75;
  must(world.store.update(run));
  EXPECT_EQ(must(world.store.run(run.id)), run);
  // Recording how it began does not undo how it ended.
  must(world.store.record(world.run));
  EXPECT_EQ(must(world.store.run(run.id)), run);
  EXPECT_EQ(world.store.update(run_row("unknown", 3)).error().kind, ErrorKind::kNotFound);
}

TEST(Store, FindsARunByTheBeginningOfItsId) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  for (int i = 1; i < 40; ++i) must(world.store.record(run_row("run", i)));
  EXPECT_EQ(must(world.store.run(world.run.id.substr(0, 10))).id, world.run.id);
  std::string upper = world.run.id;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  EXPECT_EQ(must(world.store.run(upper)).id, world.run.id);
  const std::string several = world.store.run("").error().text();
  EXPECT_THAT(several, HasSubstr(folder.file("a.db") + ": 40 runs begin with '': " +
                                 world.run.id.substr(0, 12) + " nll_guided[restore], "));
  EXPECT_THAT(several, HasSubstr(" run, …\n  hint: give more of the id"));
  EXPECT_EQ(world.store.run("zz").error().text(),
            fmt::format("{0}: no run begins with 'zz'\n  hint: 'strata report runs db={0}' lists "
                        "them",
                        folder.file("a.db")));
  const auto runs = must(world.store.runs());
  ASSERT_EQ(runs.size(), 40U);
  EXPECT_TRUE(std::is_sorted(runs.begin(), runs.end(), [](const RunRow& a, const RunRow& b) {
    return a.started < b.started;
  }));
}

TEST(Store, KnowsWhatNoFurtherRunNeedAskAgain) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"), 1);
  const auto answered = [&](const ExperimentRow& experiment, const ExecutionRow& execution) {
    return must(world.store.answered(experiment_id(experiment), execution));
  };
  const ExecutionRow other = execution_row(must(world.store.record(run_row("other", 1))));
  EXPECT_THAT(answered(world.experiment, world.execution), ElementsAre(sample_row(0).id));
  EXPECT_THAT(answered(world.experiment, other), ElementsAre(sample_row(0).id)) << "of another run";
  for (auto& [what, change] : std::vector<std::pair<const char*, void (*)(ExecutionRow&)>>{
           {"device", [](ExecutionRow& row) { row.device = "cuda:NVIDIA H100"; }},
           {"threads", [](ExecutionRow& row) { ++row.threads; }},
           {"dtype", [](ExecutionRow& row) { row.dtype = "float64"; }},
           {"cpu", [](ExecutionRow& row) { row.cpu = "another"; }}}) {
    ExecutionRow changed = world.execution;
    change(changed);
    EXPECT_THAT(answered(world.experiment, changed), IsEmpty()) << what;
  }
  for (auto& [what, change] : std::vector<std::pair<const char*, void (*)(ExperimentRow&)>>{
           {"model", [](ExperimentRow& row) { row.model_id[0] ^= 1; }},
           {"tokenizer", [](ExperimentRow& row) { row.tokenizer_id[0] ^= 1; }},
           {"plan", [](ExperimentRow& row) { row.plan_id[0] ^= 1; }},
           {"generation", [](ExperimentRow& row) { row.generation_json = R"({"limit":7})"; }},
           {"samples", [](ExperimentRow& row) { row.data_id[0] ^= 1; }},
           {"numerics", [](ExperimentRow& row) { ++row.numerics_version; }}}) {
    ExperimentRow changed = world.experiment;
    change(changed);
    EXPECT_THAT(answered(changed, world.execution), IsEmpty()) << what;
  }
  EXPECT_THAT(must(world.store.executions_of(world.run.id)), ElementsAre(world.execution));
  EXPECT_THAT(must(world.store.runs_of_config(world.run.config_hash)), ElementsAre(world.run));
  EXPECT_THAT(must(world.store.runs_of_config("unknown")), IsEmpty());
}

TEST(Store, ASelectionAndItsRunAreWrittenTogetherOrNotAtAll) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  SelectionRow selection = world.selection;
  selection.id.clear();
  selection.cost.seconds += 1;
  RunRow unknown = run_row("unknown", 3);
  EXPECT_EQ(world.store.record(selection, nullptr, unknown).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(world.store.selection(selection_id(selection)).error().kind, ErrorKind::kNotFound);
  RunRow run = world.run;
  run.decode_rule = DecodeRule::kFull;  // a strategy that names the mixers itself
  run.window = 9;
  const std::string id = must(world.store.record(selection, nullptr, run));
  EXPECT_EQ(run.selection_id, id);
  EXPECT_EQ(must(world.store.run(run.id)), run);
  EXPECT_EQ(must(world.store.selection(id)).cost.seconds, selection.cost.seconds);
}

TEST(Store, KeepsTheEvidenceOfASelectionToTheLastBit) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  World world = make_world(path);
  SelectionRow selection = world.selection;
  selection.id.clear();
  RunRow run = world.run;
  ScoreTensor tensor = score_tensor();
  tensor.gains[3] = std::numeric_limits<float>::quiet_NaN();  // a unit that was no candidate
  const std::string id = must(world.store.record(selection, &tensor, run));
  const SelectionRow recorded = must(world.store.selection(id));
  const ScoreTensorRow row = must(world.store.score_tensor(*recorded.score_tensor_id));
  EXPECT_TRUE(std::isnan(row.tensor.gains[3]));
  ScoreTensor got = row.tensor, expected = tensor;
  got.gains[3] = expected.gains[3] = 0;
  EXPECT_EQ(got, expected);
  EXPECT_THAT(must(world.store.check()), IsEmpty());

  // Another selection by the same scores refers to the same row; so does a merged database.
  selection.seed += 1;
  must(world.store.record(selection, &tensor, run));
  World other = make_world(folder.file("b.db"));
  must(other.store.merge(world.store));
  EXPECT_EQ(must(other.store.score_tensor(row.id)).id, row.id);
  EXPECT_THAT(must(other.store.check()), IsEmpty());

  edit(path, "UPDATE score_tensors SET positions_json = '[2,3,3]'");
  EXPECT_THAT(must(world.store.check()),
              ElementsAre(HasSubstr("3 samples, 3 clusters, 3 lengths, 28 and 224 bytes do not fit "
                                    "each other")));
  edit(path, "UPDATE score_tensors SET positions_json = '[2,2,3]'");
  EXPECT_THAT(must(world.store.check()), ElementsAre(HasSubstr("its content has id")));
}

TEST(Store, KeepsWhatTheNumbersOfAScoreTensorAre) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  World world = make_world(path);
  SelectionRow selection = world.selection;
  RunRow run = world.run;
  ScoreTensor tensor = score_tensor();
  for (const GainKind kind : {GainKind::kSlope, GainKind::kRegression, GainKind::kBothSides}) {
    tensor.kind = kind;
    selection.id.clear();
    const std::string id = must(world.store.record(selection, &tensor, run));
    const SelectionRow recorded = must(world.store.selection(id));
    EXPECT_EQ(must(world.store.score_tensor(*recorded.score_tensor_id)).tensor, tensor);
  }
  edit(path, "UPDATE score_tensors SET context_json = replace(context_json, 'both_', 'no_')");
  EXPECT_THAT(
      must(world.store.check()),
      ElementsAre(HasSubstr("field 'kind': expected both_sides or regression, got \"no_sides\"")));
}

TEST(Store, OneProcessAtATimeCarriesOutRuns) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  { const World world = make_world(path); }
  {
    const WriterLock lock = must(WriterLock::acquire(path));
    EXPECT_THAT(WriterLock::acquire(path).error().text(),
                HasSubstr(fmt::format("another strata run (process {}) is writing", ::getpid())));
    EXPECT_THAT(must(must(Store::open(path, Store::Mode::kReadOnly)).runs()), testing::SizeIs(1));
  }
  EXPECT_FALSE(std::filesystem::exists(path + "-lock"));
  EXPECT_TRUE(WriterLock::acquire(path));
}

TEST(Store, MergingIsTheUnionAndDoingItAgainChangesNothing) {
  const TemporaryFolder folder;
  World here = make_world(folder.file("here.db"), 2);
  World there = make_world(folder.file("there.db"), 3);
  must(there.store.record(run_row("only there", 9)));
  must(here.store.merge(there.store));
  const std::string merged = dump_of(here.store);
  EXPECT_THAT(merged, HasSubstr("label=only there"));
  EXPECT_EQ(must(here.store.responses_of(there.experiment.id)).size(), 3U);
  EXPECT_EQ(must(here.store.responses_of(here.experiment.id)).size(), 2U);
  must(here.store.merge(there.store));
  EXPECT_EQ(dump_of(here.store), merged);
  // The other way round gives the same database.
  must(there.store.merge(here.store));
  EXPECT_EQ(dump_of(there.store), merged);
  EXPECT_THAT(must(here.store.check()), IsEmpty());
}

TEST(Store, MergingFinishesARunThatIsUnfinishedHereAndNeverTheReverse) {
  const TemporaryFolder folder;
  World here = make_world(folder.file("here.db"));
  World there = make_world(folder.file("there.db"));
  RunRow done = there.run;
  done.status = RunStatus::kDone;
  done.finished = "2025-01-31T12:05:00.000000Z";
  must(there.store.update(done));
  must(here.store.merge(there.store));
  EXPECT_EQ(must(here.store.run(done.id)), done);
  World third = make_world(folder.file("third.db"));
  must(here.store.merge(third.store));
  EXPECT_EQ(must(here.store.run(done.id)), done);
}

TEST(Store, OfTwoFailuresOfARunTheLaterOneStaysWhicheverIsMergedIntoWhich) {
  const TemporaryFolder folder;
  World here = make_world(folder.file("here.db"));
  World there = make_world(folder.file("there.db"));
  RunRow first = here.run;
  first.status = RunStatus::kFailed;
  first.error = "out of memory";
  first.finished = "2025-01-31T12:05:00.000000Z";
  RunRow second = first;
  second.error = "the denominator is noise";
  second.finished = "2025-01-31T12:06:00.000000Z";
  must(here.store.update(first));
  must(there.store.update(second));
  must(there.store.merge(here.store));
  EXPECT_EQ(must(there.store.run(second.id)), second);
  must(here.store.merge(there.store));
  EXPECT_EQ(must(here.store.run(second.id)), second);
}

TEST(Store, AConflictKeepsNothingOfAMerge) {
  const TemporaryFolder folder;
  World here = make_world(folder.file("here.db"));
  { const World there = make_world(folder.file("there.db"), 3); }
  edit(folder.file("there.db"),
       "UPDATE responses SET kv_bytes = 1 WHERE sample_id = '" + sample_row(2).id + "'");
  const Store first = must(Store::open(folder.file("there.db"), Store::Mode::kReadOnly));
  must(here.store.merge(first));
  edit(folder.file("there.db"),
       "UPDATE responses SET kv_bytes = 2; INSERT INTO tokenizers VALUES ('new', '')");
  const std::string before = dump_of(here.store);
  const Store second = must(Store::open(folder.file("there.db"), Store::Mode::kReadOnly));
  const Status status = here.store.merge(second);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("the same id with other content: kv_bytes is 1"));
  EXPECT_EQ(dump_of(here.store), before);
}

TEST(Store, ADumpWithoutTimingsIsTheSameForTheSameResults) {
  const TemporaryFolder folder;
  World slow = make_world(folder.file("slow.db"));
  World fast = make_world(folder.file("fast.db"));
  const auto again = [](World& world, const std::string& label, double ms) {
    RunRow run = run_row(label, static_cast<int>(ms));
    must(world.store.record(run));
    ResponseRow response = world.responses[0];
    response.execution_id = must(world.store.record(execution_row(run.id)));
    response.timings_ms = {{"prefill_ms", ms}};
    must(world.store.record(response));
    SelectionRow selection = world.selection;
    selection.id.clear();
    selection.cost.seconds = ms;
    must(world.store.record(selection));
  };
  again(slow, "again", 50);
  again(fast, "again", 5);
  EXPECT_NE(dump_of(slow.store), dump_of(fast.store));
  EXPECT_EQ(dump_of(slow.store, Store::Timings::kExclude),
            dump_of(fast.store, Store::Timings::kExclude));
}

TEST(Store, CheckFindsWhatWasEdited) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  const World world = make_world(path);
  EXPECT_THAT(must(world.store.check()), IsEmpty());
  edit(path, "UPDATE experiments SET numerics_version = 2");
  EXPECT_THAT(must(world.store.check()),
              ElementsAre(HasSubstr("table experiments, row " + world.experiment.id +
                                    ": its content has id ")));
  edit(path, "UPDATE experiments SET numerics_version = 1; DELETE FROM executions");
  EXPECT_THAT(
      must(world.store.check()),
      ElementsAre("table responses: a row refers to a row of executions that is not there",
                  "table responses: a row refers to a row of executions that is not there"));
}

TEST(Store, CheckFindsDoneRunsWithoutAllAnswersAndTornRows) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  World world = make_world(path);
  RunRow run = world.run;
  run.status = RunStatus::kDone;
  run.experiment_id = world.experiment.id;
  must(world.store.update(run));
  edit(path, "DELETE FROM responses WHERE sample_id = '" + sample_row(0).id + "'; " +
                 "DELETE FROM judgements");
  EXPECT_THAT(must(world.store.check()),
              ElementsAre("run " + run.id + " is done, but 1 samples have no response"));
  edit(path, "UPDATE responses SET answer_nll_json = '[0.1,'");
  EXPECT_THAT(must(world.store.check()),
              testing::Contains(HasSubstr("column 6: expected JSON of another kind")));
  edit(path, "UPDATE data_samples SET position = position + 10 WHERE position = 0");
  EXPECT_THAT(must(world.store.check()),
              testing::Contains(
                  HasSubstr("table data_sets, row " + world.data.id + ": its content has id")));
}

// docs/database.md shows queries; they must fit the schema.
TEST(Store, ARunWhoseProcessIsGoneIsInterruptedForReaders) {
  const TemporaryFolder folder;
  const World world = make_world(folder.file("a.db"));
  const Store reader = must(Store::open(folder.file("a.db"), Store::Mode::kReadOnly));
  {
    const WriterLock writer = must(WriterLock::acquire(folder.file("a.db")));
    EXPECT_EQ(must(reader.runs())[0].status, RunStatus::kRunning);
  }
  for (const RunRow& run : {must(reader.run(world.run.id)), must(reader.runs())[0]}) {
    EXPECT_EQ(run.status, RunStatus::kInterrupted);
    EXPECT_EQ(run.error, "its process is gone");
  }
  EXPECT_EQ(must(world.store.run(world.run.id)).status, RunStatus::kRunning) << "it was written";
}

// Rows as lines: "full|2|1.0".
std::string sorted_rows(const std::string& path, const std::string& sql) {
  std::set<std::string> rows;
  const auto take = [](void* to, int columns, char** values, char**) {
    std::string row;
    for (int i = 0; i < columns; ++i)
      row += fmt::format("{}{}", i == 0 ? "" : "|", values[i] == nullptr ? "NULL" : values[i]);
    static_cast<std::set<std::string>*>(to)->insert(row + "\n");
    return 0;
  };
  sqlite3* handle = nullptr;
  EXPECT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), take, &rows, nullptr), SQLITE_OK)
      << sqlite3_errmsg(handle);
  sqlite3_close(handle);
  return fmt::format("{}", fmt::join(rows, ""));
}

// Two runs of one experiment, each with an execution that answered both samples, the second one
// otherwise; a judge has said yes and then no of the first sample.
void make_twice_executed(const std::string& path) {
  World world = make_world(path);
  const auto finish = [&](RunRow run) {
    run.experiment_id = world.experiment.id;
    run.status = RunStatus::kDone;
    must(world.store.update(run));
  };
  finish(world.run);
  RunRow later = run_row("nll_restore", 60);
  later.id = must(world.store.record(later));
  finish(later);
  ExecutionRow execution = execution_row(later.id);
  execution.threads = 2;
  execution.id = execution_id(execution);
  must(world.store.record(execution));
  for (ResponseRow response : world.responses) {
    response.execution_id = execution.id;
    response.metrics["gen_contains"] = 0;
    response.answer_nll = {2, 4};
    must(world.store.record(response));
    JudgementRow judgement = judgement_row(response, 60);
    judgement.official = false;
    judgement.verdict = JudgedAs::kNo;
    judgement.id = judgement_id(judgement);
    must(world.store.record(judgement));
  }
}

TEST(Store, EveryQueryOfTheDocumentationCountsOneExecutionASample) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.db");
  make_twice_executed(path);
  const std::vector<std::string> expected = {
      "nll_guided[restore]|2|0.0\nnll_restore|2|0.0\n",
      "nll_guided[restore]|0|2.0\nnll_guided[restore]|1|4.0\nnll_restore|0|2.0\n"
      "nll_restore|1|4.0\n",
      "nll_guided[restore]|judge-1|NULL|2|0.0\nnll_restore|judge-1|NULL|2|0.0\n", ""};
  const char* root = std::getenv("STRATA_SOURCE_DIR");
  const std::string page =
      bytes_of(std::string(root == nullptr ? "." : root) + "/docs/database.md");
  const std::string_view fence = "```sql\n";
  std::size_t queries = 0;
  for (auto begin = page.find(fence); begin != std::string::npos;
       begin = page.find(fence, begin + 1)) {
    const auto start = begin + fence.size();
    const std::string sql = page.substr(start, page.find("```", start) - start);
    ASSERT_LT(queries, expected.size());
    EXPECT_EQ(sorted_rows(path, sql), expected[queries]) << sql;
    ++queries;
  }
  EXPECT_EQ(queries, expected.size());
}

}  // namespace
}  // namespace strata::test
