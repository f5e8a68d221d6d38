#include "runner/cli/arguments.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iterator>

#include "benchmarks/config_registry.h"
#include "runner/convert_config.h"
#include "runner/score_config.h"
#include "strategies/config_registry.h"

namespace strata::cli {
namespace {

std::string lines_of(const std::vector<config::FieldHelp>& fields) {
  std::string out;
  for (const config::FieldHelp& field : fields)
    out += fmt::format("  {:<26} {} [{}]{}\n", field.path + "=" + field.default_text, field.help,
                       field.type, field.constraint.empty() ? "" : " " + field.constraint);
  return out;
}

std::string convert_keys_help() {
  return "Keys (key=value):\n" + lines_of(config::describe(ConvertConfig{}));
}

std::string score_keys_help() {
  return "Keys (key=value):\n" + lines_of(config::describe(ScoreConfig{})) +
         "\njudge=endpoint | official | swaa: configs/judge/\n";
}

std::string keys_help() {
  std::string out = "Keys (key=value; what each strategy and benchmark adds is below):\n";
  const auto list = [&](const std::vector<config::FieldHelp>& fields) { out += lines_of(fields); };
  list(config::describe(ExperimentConfig{}));
  for (const StrategyInfo& info : strategy_infos()) {
    out += fmt::format("\nstrategy={}: {}\n", info.name, info.help);
    list(info.fields);
  }
  for (const BenchmarkInfo& info : benchmark_infos()) {
    out += fmt::format("\nbenchmark={}: {}\n", info.name, info.help);
    visit_benchmark_config(
        info.name, [&](const auto& defaults) { list(config::describe(defaults, "benchmark")); });
  }
  return out;
}

std::filesystem::path program_dir() {
  std::error_code code;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", code);
  return code ? std::filesystem::path(".") : self.parent_path();
}

void add_config_dirs(CLI::App* command, std::vector<std::string>& dirs) {
  command
      ->add_option("--config-dir", dirs, "another folder with configuration groups; searched first")
      ->allow_extra_args(false);
}

void add_composition(CLI::App* command, Arguments& arguments, std::vector<std::string>& dirs) {
  add_config_dirs(command, dirs);
  command->add_flag("-m,--multirun", arguments.load.multirun,
                    "sweep: a=1,2 b=range(3) gives a job for each combination");
  command->add_option("--cfg", "print the job's configuration and stop")
      ->check(CLI::IsMember({"job"}))
      ->each([&](const std::string&) { arguments.show_job = true; });
  command->add_flag("--resolve", arguments.resolve, "with --cfg job: with ${...} replaced");
  command->add_option("--info", "print how the configuration is composed and stop")
      ->check(CLI::IsMember({"defaults-tree"}))
      ->each([&](const std::string&) { arguments.show_defaults = true; });
  command->add_flag("--dry-run", arguments.dry_run, "check every job and list what would run");
  command
      ->add_option("overrides", arguments.load.overrides,
                   "key=value, group=option, +new=value, ~gone")
      ->option_text("OVERRIDES");
  command->footer([] { return keys_help(); });
}

// CLI11's own messages name the largest number that there is.
CLI::Validator above_zero(bool or_zero) {
  return {[or_zero](const std::string& text) -> std::string {
            double value = 0;
            if (CLI::detail::lexical_cast(text, value) && (or_zero ? value >= 0 : value > 0))
              return {};
            return fmt::format("expected a number {} 0, got '{}'",
                               or_zero ? "of at least" : "above", text);
          },
          ""};
}

void add_activation_memory(CLI::App* command, Arguments& arguments) {
  command
      ->add_option("--activation-mib", arguments.activation_mib,
                   "memory for activations; what does not fit is computed a second time; 4096 on a "
                   "CPU, half of what weights leave of a GPU, where not given")
      ->check(above_zero(true));
}

void add_where(CLI::App* command, Arguments& arguments) {
  command
      ->add_option("--where", arguments.where,
                   "KEY=VALUE: only runs with this stored key (calibration.samples=16); repeat it")
      ->option_text("KEY=VALUE")
      ->allow_extra_args(false);
}

void add_training(CLI::App* command, Arguments& arguments) {
  command->add_option("-o", arguments.model_out, "the new model's folder")->required();
  command->add_option("--steps", arguments.train_steps, "steps under the strategy's mask")
      ->check(above_zero(true));
  command->add_option("--batch", arguments.train_batch, "calibration prompts a step")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--rate", arguments.train_rate, "AdamW's rate of the weights")
      ->check(above_zero(false));
  command->add_option("--clip", arguments.train_clip, "largest norm of a gradient; 0 = any")
      ->check(above_zero(true));
  add_activation_memory(command, arguments);
  command
      ->add_option("--checkpoint-seconds", arguments.checkpoint_seconds,
                   "how often weights and moments are written")
      ->check(above_zero(true));
}

void add_verification(CLI::App* command, Arguments& arguments) {
  command->add_option("--plan", arguments.plan_in, "plan.json, or selection.json")->required();
  command->add_option("--samples", arguments.verify_samples, "stored samples to rerun")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--seed", arguments.verify_seed, "of which samples are drawn")
      ->capture_default_str();
  command
      ->add_option("--tolerance", arguments.tolerance,
                   "nats by which the NLL may differ at an answer position")
      ->check(above_zero(true))
      ->capture_default_str();
  command
      ->add_option("--changes", arguments.allowed_changes,
                   "samples whose likeliest tokens or text may have changed")
      ->capture_default_str();
  command->add_flag("--ascii", arguments.ascii, "no character outside ASCII");
}

// What stands where a subcommand belongs and is none: CLI11 says only that one is required.
std::optional<Error> unknown_subcommand(CLI::App& app, int argc, char** argv) {
  CLI::App* command = &app;
  std::vector<CLI::App*> subcommands;
  int i = 1;
  for (;; ++i) {
    subcommands = command->get_subcommands([](CLI::App*) { return true; });
    if (i >= argc || *argv[i] == '-' || subcommands.empty()) return std::nullopt;
    const auto named = std::find_if(subcommands.begin(), subcommands.end(),
                                    [&](CLI::App* one) { return one->check_name(argv[i]); });
    if (named == subcommands.end()) break;
    command = *named;
  }
  std::vector<std::string> names;
  names.reserve(subcommands.size());
  for (const CLI::App* one : subcommands) names.push_back(one->get_name());
  return make_error(ErrorKind::kInvalidArgument, "{} has no subcommand '{}'",
                    command == &app ? "strata" : "strata " + command->get_name(), argv[i])
      .with_hint(config::nearest_hint(argv[i], names, "subcommands"));
}

// A run is carried on as it was recorded: whatever else a command said would change it or be
// ignored.
std::optional<Error> word_beside_resume(const Arguments& arguments) {
  if (arguments.resume.empty()) return std::nullopt;
  for (const std::string& word : arguments.load.overrides)
    if (!word.starts_with("db="))
      return make_error(ErrorKind::kInvalidArgument,
                        "--resume takes the recorded configuration; expected db= alone, got '{}'",
                        word)
          .with_hint(
              "without --resume the whole command carries its run on, or begins a new one "
              "where anything has changed");
  return std::nullopt;
}

}  // namespace

std::vector<std::filesystem::path> default_config_dirs() {
  std::vector<std::filesystem::path> dirs;
  std::error_code code;
  for (const std::filesystem::path& candidate :
       {std::filesystem::path("configs"), program_dir() / "configs",
        program_dir() / ".." / "configs"})
    if (std::filesystem::is_regular_file(candidate / "config.yaml", code)) {
      dirs.push_back(candidate.lexically_normal());
      break;
    }
  return dirs;
}

Parsed parse(int argc, char** argv) {
  Parsed parsed;
  Arguments& arguments = parsed.arguments;
  std::vector<std::string> dirs;
  CLI::App app{
      "strata: which layers and heads of a language model must keep full attention, and what each "
      "choice costs",
      "strata"};
  app.require_subcommand(1);
  app.set_version_flag("--version", STRATA_VERSION);

  CLI::App* run = app.add_subcommand("run", "select, evaluate and record every sample");
  add_composition(run, arguments, dirs);
  run->add_option("--resume", arguments.resume,
                  "carry on this unfinished run (an id, or its beginning) of db= by its recorded "
                  "configuration; refused where anything is not what it was");
  CLI::App* select = app.add_subcommand("select", "select and write the plan");
  add_composition(select, arguments, dirs);
  select->add_option("-o", arguments.plan_out, "where plan.json goes")->required();
  select->add_option("--selection", arguments.selection_out,
                     "where selection.json (scores, cost) goes");
  CLI::App* verify = app.add_subcommand(
      "verify", "rerun stored samples of a plan and report how far the numbers have drifted");
  add_composition(verify, arguments, dirs);
  add_verification(verify, arguments);
  CLI::App* train = app.add_subcommand(
      "train",
      "select, train all weights on the calibration prompts under the mask, save the model");
  add_composition(train, arguments, dirs);
  add_training(train, arguments);
  CLI::App* convert = app.add_subcommand(
      "convert",
      "train linear branches of a model, and a hybrid of both kinds of attention under a plan");
  add_composition(convert, arguments, dirs);
  convert->footer([] { return convert_keys_help(); });
  convert
      ->add_option("-o", arguments.model_out,
                   "the result's folder; the same command carries on a conversion that was "
                   "stopped")
      ->required();
  CLI::App* bench = app.add_subcommand("bench", "measure this machine");
  bench->require_subcommand(1);
  CLI::App* prefill = bench->add_subcommand(
      "prefill",
      "one prompt of benchmark.length tokens under the strategy's plan, threads= threads");
  CLI::App* decode = bench->add_subcommand(
      "decode", "batch= sequences behind prompts of benchmark.length tokens, step by step");
  CLI::App* gates = bench->add_subcommand("gates",
                                          "forward and backward pass of half-open gates over "
                                          "batch= prompts of benchmark.length tokens");
  CLI::App* mixer = bench->add_subcommand(
      "mixer",
      "one layer's cheap mixer by itself (full attention under strategy=full) over "
      "benchmark.length rows");
  for (CLI::App* command : {prefill, decode, gates, mixer}) {
    add_composition(command, arguments, dirs);
    command->add_option("--repeats", arguments.repeats, "measurements after one warm-up")
        ->check(CLI::Range(1, 1000));
  }
  add_activation_memory(gates, arguments);
  decode->add_option("--new-tokens", arguments.new_tokens, "steps of each measurement")
      ->check(CLI::Range(1, 100000));
  CLI::App* samples =
      app.add_subcommand("samples", "what will be asked: the benchmark's samples as jsonl");
  add_composition(samples, arguments, dirs);

  CLI::App* score = app.add_subcommand(
      "score", "ask a judge (any OpenAI-compatible endpoint) whether stored responses are right");
  add_composition(score, arguments, dirs);
  score->footer([] { return score_keys_help(); });
  add_where(score, arguments);

  CLI::App* export_plan = app.add_subcommand(
      "export",
      "a plan for another system, to standard output (hf: config.json, for the weights of model=)");
  export_plan->add_option("plan", arguments.plan_in, "plan.json")->required();
  export_plan
      ->add_option(
          "--format", arguments.format,
          "hf: a config.json that transformers honours; swaa: SWAA's settings; heads: a row "
          "of KV heads a layer")
      ->check(CLI::IsMember({"hf", "swaa", "heads"}))
      ->required();
  add_composition(export_plan, arguments, dirs);

  CLI::App* report = app.add_subcommand("report", "tables from a database; runs no model");
  report->require_subcommand(1);
  CLI::App* ablation = report->add_subcommand(
      "ablation",
      "effects of swept keys, Pareto fronts, budget curves and the units that are needed, "
      "agreement of selections, task transfer");
  CLI::App* leaderboard =
      report->add_subcommand("leaderboard", "strategies compared at equal budget");
  CLI::App* lengths = report->add_subcommand(
      "lengths", "RULER's averages over tasks at each length, and the effective length");
  CLI::App* claims = report->add_subcommand(
      "claims", "selectors over calibration seeds, and against toggling units by NLL");
  CLI::App* run_report =
      report->add_subcommand("run", "one run: scores of units, cost, NLL at each answer position");
  CLI::App* runs = report->add_subcommand(
      "runs", "the runs of a database: ids, what they asked, how far they came");
  CLI::App* longmemeval = report->add_subcommand(
      "longmemeval", "LongMemEval's questions by type: the checker and each judge side by side");
  CLI::App* paper = report->add_subcommand(
      "paper", "a paper's published tables beside ours, with a verdict each; no NAME: the papers");
  CLI::App* compare = report->add_subcommand(
      "compare",
      "two runs, or two database files, on the samples that both answered: differences with "
      "tests, and the samples that changed");
  CLI::App* grid = report->add_subcommand(
      "grid", "answers by length and depth of the needle (benchmark=niah_grid): heat maps");
  for (CLI::App* command : {ablation, claims, compare, grid, leaderboard, lengths, longmemeval,
                            paper, run_report, runs}) {
    command->add_option("--format", arguments.format, "text, md (or markdown), csv, latex or html")
        ->check(CLI::IsMember({"text", "md", "markdown", "csv", "latex", "html"}));
    command->add_flag("--ascii", arguments.ascii, "no character outside ASCII");
  }

  for (CLI::App* command :
       {ablation, claims, compare, grid, leaderboard, lengths, longmemeval, paper})
    command->add_flag(
        "--trace", arguments.trace,
        "instead of the tables: the ids of the rows behind each number, and SQL that gives it");
  for (CLI::App* command : {ablation, claims, grid, leaderboard, lengths})
    command
        ->add_option("--by", arguments.by,
                     "KEY: a table for each value of this stored key; repeat it")
        ->option_text("KEY")
        ->allow_extra_args(false);
  for (CLI::App* command : {ablation, claims, grid, leaderboard, lengths, runs}) {
    add_where(command, arguments);
    command
        ->add_option("overrides", arguments.load.overrides,
                     "db=FILE, and filters: model= benchmark= decode_rule= window= budget.units=; "
                     "match=kv_bytes or prefill_flops: tables over all budgets and units, alike "
                     "in that within 1 %")
        ->option_text("KEY=VALUE");
  }
  add_where(longmemeval, arguments);
  longmemeval->add_option("words", arguments.load.overrides, "the database, or db=FILE")
      ->option_text("[DB]");
  add_where(paper, arguments);
  paper
      ->add_option("words", arguments.load.overrides,
                   "a paper of configs/paper, or a YAML file; db=FILE and filters as above")
      ->option_text("[NAME] [KEY=VALUE]");
  add_config_dirs(paper, dirs);
  compare
      ->add_option("words", arguments.load.overrides,
                   "two runs by id or its beginning, and db=FILE; or two database files")
      ->option_text("A B [db=FILE]");
  compare->add_option("--samples", arguments.changed_samples, "changed samples to show")
      ->capture_default_str();
  run_report
      ->add_option("words", arguments.load.overrides, "a run's id or its beginning, and db=FILE")
      ->option_text("RUN [db=FILE]");

  CLI::App* db = app.add_subcommand("db", "look after a database");
  db->require_subcommand(1);
  CLI::App* check = db->add_subcommand("check", "integrity, references, content ids");
  CLI::App* dump = db->add_subcommand("dump", "every row as sorted text");
  CLI::App* merge =
      db->add_subcommand("merge", "insert the rows of other databases into the first");
  CLI::App* migrate =
      db->add_subcommand("migrate", "bring a database of an older strata up to date");
  for (CLI::App* command : {check, dump, migrate})
    command->add_option("db", arguments.names, "database file")->required()->expected(1);
  merge->add_option("db", arguments.names, "target, then sources")->required()->expected(2, 1000);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (const auto unknown = unknown_subcommand(app, argc, argv)) {
      report_error(*unknown);
      parsed.exit_code = 2;
      return parsed;
    }
    const int code = app.exit(error);
    parsed.exit_code = code == 0 ? 0 : 2;
    return parsed;
  }
  if (*db)
    for (std::string& name : arguments.names)  // db=FILE, as every other command has it
      if (name.starts_with("db=")) name.erase(0, 3);
  if (*run_report || *compare || *score || *longmemeval || *paper) {
    std::vector<std::string>& words = arguments.load.overrides;
    const auto is_name = [](const std::string& word) {
      return word.find('=') == std::string::npos;
    };
    std::copy_if(words.begin(), words.end(), std::back_inserter(arguments.names), is_name);
    words.erase(std::remove_if(words.begin(), words.end(), is_name), words.end());
  }
  if (const auto extra = word_beside_resume(arguments)) {
    report_error(*extra);
    parsed.exit_code = 2;
    return parsed;
  }
  if (*paper && arguments.names.size() > 1) {
    std::fprintf(stderr, "error: report paper takes one paper, got %zu\n", arguments.names.size());
    parsed.exit_code = 2;
    return parsed;
  }
  if ((*score || *longmemeval) && arguments.names.size() > 1) {
    std::fprintf(stderr, "error: %s takes one database, got %zu\n  hint: %s\n",
                 *score ? "score" : "report longmemeval", arguments.names.size(),
                 *score ? "strata score FILE judge.url=URL judge.model=NAME"
                        : "strata report longmemeval FILE");
    parsed.exit_code = 2;
    return parsed;
  }
  if (*run_report || *compare) {
    const std::size_t expected = *compare ? 2 : 1;
    if (arguments.names.size() != expected) {
      std::fprintf(stderr, "error: report %s takes %s, got %zu\n  hint: %s\n",
                   *compare ? "compare" : "run", *compare ? "two runs or files" : "one run",
                   arguments.names.size(),
                   *compare ? "strata report compare RUN RUN [db=FILE] (ids, or their beginnings: "
                              "strata report runs), or strata report compare A.db B.db"
                            : "strata report run RUN [db=FILE] (an id, or its beginning: "
                              "strata report runs)");
      parsed.exit_code = 2;
      return parsed;
    }
  }
  const std::vector<std::pair<CLI::App*, Command>> commands = {
      {run, Command::kRun},
      {select, Command::kSelect},
      {verify, Command::kVerify},
      {train, Command::kTrain},
      {convert, Command::kConvert},
      {decode, Command::kBenchDecode},
      {gates, Command::kBenchGates},
      {mixer, Command::kBenchMixer},
      {prefill, Command::kBenchPrefill},
      {samples, Command::kSamples},
      {score, Command::kScore},
      {export_plan, Command::kExport},
      {ablation, Command::kReportAblation},
      {claims, Command::kReportClaims},
      {compare, Command::kReportCompare},
      {grid, Command::kReportGrid},
      {leaderboard, Command::kReportLeaderboard},
      {lengths, Command::kReportLengths},
      {longmemeval, Command::kReportLongMemEval},
      {paper, Command::kReportPaper},
      {run_report, Command::kReportRun},
      {runs, Command::kReportRuns},
      {check, Command::kDbCheck},
      {dump, Command::kDbDump},
      {merge, Command::kDbMerge},
      {migrate, Command::kDbMigrate}};
  for (const auto& [command, value] : commands)
    if (command->parsed()) arguments.command = value;
  for (const std::string& dir : dirs) arguments.load.config_dirs.emplace_back(dir);
  for (std::filesystem::path& dir : default_config_dirs())
    arguments.load.config_dirs.push_back(std::move(dir));
  return parsed;
}

int report_error(const Error& error) {
  std::fprintf(stderr, "error: %s\n", error.text().c_str());
  return error.kind == ErrorKind::kInterrupted ? 130 : 1;
}

}  // namespace strata::cli
