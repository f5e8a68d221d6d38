// Commands that need no model.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "benchmarks/registry.h"
#include "benchmarks/truncation_notices.h"
#include "models/checkpoint/hf_config.h"
#include "models/checkpoint/json_fields.h"
#include "results/reports/ablation.h"
#include "results/reports/compare.h"
#include "results/reports/effective_length.h"
#include "results/reports/heat_map.h"
#include "results/reports/html_leaderboard.h"
#include "results/reports/leaderboard.h"
#include "results/reports/memory_report.h"
#include "results/reports/run_list.h"
#include "results/reports/run_report.h"
#include "runner/cli/arguments.h"
#include "runner/export.h"
#include "runner/paper.h"
#include "runner/plan_file.h"
#include "runner/samples.h"

namespace strata::cli {
namespace {

// key=value words of `report`: a small fixed list, not a composition.
struct ReportKeys {
  std::string db = "results.db";
  LeaderboardRequest filters;
};

Result<ReportKeys> report_keys(const std::vector<std::string>& words) {
  ReportKeys keys;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    const auto number = [&](std::optional<std::int64_t>& target) -> Status {
      char* end = nullptr;
      target = std::strtoll(value.c_str(), &end, 10);
      if (value.empty() || *end != '\0')
        return fail(ErrorKind::kInvalidArgument, "command line: '{}': expected an integer", word);
      return {};
    };
    if (key == "db") {
      keys.db = value;
    } else if (key == "model") {
      keys.filters.model = value;
    } else if (key == "benchmark") {
      keys.filters.benchmark = value;
    } else if (key == "decode_rule") {
      ASSIGN_OR_RETURN(keys.filters.decode_rule, parse_decode_rule(value));
    } else if (key == "match") {
      auto measure = parse_match_on(value);
      if (!measure)
        return fail(std::move(measure).error().at(fmt::format("command line: '{}'", word)));
      keys.filters.match = *measure;
    } else if (key == "window") {
      RETURN_IF_ERROR(number(keys.filters.window));
    } else if (key == "budget.units") {
      RETURN_IF_ERROR(number(keys.filters.budget_units));
    } else {
      const std::vector<std::string> known = {"db",     "model",        "benchmark", "decode_rule",
                                              "window", "budget.units", "match"};
      const Error error = make_error(ErrorKind::kInvalidArgument,
                                     "command line: '{}': unknown key '{}'", word, key);
      if (std::filesystem::is_regular_file(word)) return fail(Error(error).with_hint("db=" + word));
      if (equals == std::string::npos || config::nearest(key, known))
        return fail(Error(error).with_hint(config::nearest_hint(key, known, "keys")));
      return fail(Error(error).with_hint("--where " + word + " filters by any stored key"));
    }
  }
  return keys;
}

// A name that is meant as a file: no run's id has such characters.
bool names_file(const std::string& name) {
  return name.find_first_of("./") != std::string::npos || std::filesystem::exists(name);
}

Status check_file(const std::string& name) {
  if (std::filesystem::is_regular_file(name)) return {};
  return fail(
      make_error(ErrorKind::kNotFound, "there is no such file")
          .at(name)
          .with_hint("strata report compare A.db B.db, or of one database's runs: strata report "
                     "compare RUN RUN db=FILE"));
}

// Two runs of keys.db, or two database files where both names are files.
Result<std::string> comparison(const Arguments& arguments, const ReportKeys& keys,
                               const RenderOptions& options) {
  const CompareRequest request{.samples = arguments.changed_samples};
  const std::string &a = arguments.names[0], &b = arguments.names[1];
  if (names_file(a) || names_file(b)) {
    RETURN_IF_ERROR(check_file(a));
    RETURN_IF_ERROR(check_file(b));
    ASSIGN_OR_RETURN(const Store first, Store::open(a, Store::Mode::kReadOnly));
    ASSIGN_OR_RETURN(const Store second, Store::open(b, Store::Mode::kReadOnly));
    if (arguments.trace)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "--trace: expected two runs, got two database files")
                      .with_hint("strata report compare RUN RUN --trace db=FILE"));
    ASSIGN_OR_RETURN(const DatabaseComparison pairs, compare_databases(first, second, request));
    return render(compare_page(pairs), options);
  }
  ASSIGN_OR_RETURN(const Store store, Store::open(keys.db, Store::Mode::kReadOnly));
  ASSIGN_OR_RETURN(const RunComparison runs, compare_runs(store, a, store, b, request));
  return render(arguments.trace ? compare_trace(runs) : compare_page(runs), options);
}

// Published tables need no database; a default one that is not there is none.
Result<std::string> published(const Arguments& arguments, const ReportKeys& keys,
                              const RenderOptions& options) {
  if (arguments.names.empty()) {
    if (arguments.trace)
      return fail(make_error(ErrorKind::kInvalidArgument, "--trace: expected a paper's name")
                      .with_hint("'strata report paper' lists the papers"));
    ASSIGN_OR_RETURN(const std::vector<NamedPaper> papers, all_papers(arguments.load.config_dirs));
    return render(papers_page(papers), options);
  }
  ASSIGN_OR_RETURN(const Paper paper, read_paper(arguments.load.config_dirs, arguments.names[0]));
  std::optional<Store> store;
  if (keys.db != ReportKeys{}.db || std::filesystem::exists(keys.db)) {
    ASSIGN_OR_RETURN(store, Store::open(keys.db, Store::Mode::kReadOnly));
  }
  ASSIGN_OR_RETURN(const PaperComparison comparison,
                   compare_paper(paper, store ? &*store : nullptr, keys.filters));
  return render(arguments.trace ? paper_trace(paper, comparison)
                                : paper_page(paper, comparison, options.format),
                options);
}

Result<int> report(const Arguments& arguments) {
  ASSIGN_OR_RETURN(ReportKeys keys, report_keys(arguments.load.overrides));
  for (const std::string& text : arguments.where) {
    ASSIGN_OR_RETURN(KeyFilter filter, parse_key_filter(text));
    keys.filters.where.push_back(std::move(filter));
  }
  keys.filters.by = arguments.by;
  RenderOptions options;
  ASSIGN_OR_RETURN(options.format, parse_report_format(arguments.format));
  options.utf8 = !arguments.ascii;
  std::string text;
  if (arguments.command == Command::kReportRun && names_file(arguments.names[0]))
    return fail(make_error(ErrorKind::kInvalidArgument, "expected a run's id, got a file")
                    .at(arguments.names[0])
                    .with_hint(fmt::format("strata report run RUN db={0}; 'strata report runs "
                                           "db={0}' lists them",
                                           arguments.names[0])));
  if (arguments.command == Command::kReportCompare) {
    ASSIGN_OR_RETURN(text, comparison(arguments, keys, options));
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  if (arguments.command == Command::kReportPaper) {
    ASSIGN_OR_RETURN(text, published(arguments, keys, options));
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  const bool memory = arguments.command == Command::kReportLongMemEval;
  if (memory && !arguments.names.empty()) keys.db = arguments.names[0];
  for (const std::string& word : arguments.load.overrides)
    if (memory && !word.starts_with("db="))
      return fail(make_error(ErrorKind::kInvalidArgument, "command line: '{}': expected db=", word)
                      .with_hint("--where " + word));
  ASSIGN_OR_RETURN(const Store store, Store::open(keys.db, Store::Mode::kReadOnly));
  if (memory) {
    ASSIGN_OR_RETURN(const std::vector<MemoryBlock> blocks,
                     memory_report(store, keys.filters.where));
    text = render(arguments.trace ? memory_trace(blocks) : memory_page(blocks, options.format),
                  options);
  } else if (arguments.command == Command::kReportRun) {
    ASSIGN_OR_RETURN(text, run_report(store, arguments.names[0], options));
  } else if (arguments.command == Command::kReportRuns) {
    ASSIGN_OR_RETURN(const ReportPage page, run_list(store, keys.filters));
    text = render(page, options);
  } else if (arguments.command == Command::kReportAblation) {
    ASSIGN_OR_RETURN(const Ablation swept, ablation(store, keys.filters));
    text = render(arguments.trace ? ablation_trace(swept) : ablation_page(swept), options);
  } else if (arguments.command == Command::kReportGrid) {
    ASSIGN_OR_RETURN(const std::vector<HeatMap> maps, heat_maps(store, keys.filters));
    text = render(arguments.trace ? heat_map_trace(maps) : heat_map_page(maps, options.format),
                  options);
  } else if (arguments.command == Command::kReportLeaderboard && !arguments.trace &&
             options.format == ReportFormat::kHtml) {
    ASSIGN_OR_RETURN(text, html_leaderboard(store, keys.filters));
  } else if (arguments.command == Command::kReportLengths) {
    ASSIGN_OR_RETURN(const EffectiveLengths lengths, effective_lengths(store, keys.filters));
    text =
        render(arguments.trace ? effective_length_trace(lengths) : effective_length_page(lengths),
               options);
  } else {
    ASSIGN_OR_RETURN(const LeaderboardTable table, leaderboard(store, keys.filters));
    const bool claims = arguments.command == Command::kReportClaims;
    if (arguments.trace)
      text = claims ? render(claims_trace(table), options) : render_trace(table, options);
    else
      text = claims ? render_claims(table, options) : render(table, options);
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

Result<int> database(const Arguments& arguments) {
  const bool migrates = arguments.command == Command::kDbMigrate;
  const bool writes = migrates || arguments.command == Command::kDbMerge;
  if (migrates && !std::filesystem::exists(arguments.names[0]))
    return fail(make_error(ErrorKind::kNotFound, "there is no such file").at(arguments.names[0]));
  ASSIGN_OR_RETURN(Store store, Store::open(arguments.names[0], writes ? Store::Mode::kReadWrite
                                                                       : Store::Mode::kReadOnly));
  if (arguments.command == Command::kDbDump) {
    RETURN_IF_ERROR(store.canonical_dump(std::cout, Store::Timings::kInclude));
    return 0;
  }
  if (arguments.command == Command::kDbMerge) {
    for (std::size_t i = 1; i < arguments.names.size(); ++i) {
      ASSIGN_OR_RETURN(const Store other, Store::open(arguments.names[i], Store::Mode::kReadOnly));
      RETURN_IF_ERROR(store.merge(other));
      std::printf("merged %s into %s\n", arguments.names[i].c_str(), arguments.names[0].c_str());
    }
    return 0;
  }
  if (migrates) {
    std::printf("%s: up to date\n", arguments.names[0].c_str());
    return 0;
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> problems, store.check());
  for (const std::string& problem : problems) std::printf("%s\n", problem.c_str());
  if (problems.empty()) std::printf("%s: sound\n", arguments.names[0].c_str());
  return problems.empty() ? 0 : 1;
}

Result<int> samples(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Job> jobs, load_jobs(arguments.load));
  for (const Job& job : jobs) {
    ASSIGN_OR_RETURN(const std::vector<nlohmann::json> lines, sample_lines(job.config));
    TruncationNotices notices;
    for (const nlohmann::json& line : lines) {
      notices.add(line["metadata"]);
      std::printf("%s\n", line.dump().c_str());
    }
    for (const std::string& notice : notices.lines())
      std::fprintf(stderr, "note: %s\n", notice.c_str());
  }
  return 0;
}

constexpr std::uint64_t kMaxJsonBytes = 16 << 20;

Result<AttentionPlan> read_plan(const std::string& path, const HeadLayout& layout) {
  ASSIGN_OR_RETURN(const nlohmann::json json, read_plan_json(path));
  auto plan = AttentionPlan::from_json(json, layout);
  if (!plan) return fail(std::move(plan).error().at(path));
  return plan;
}

Result<int> export_plan(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Job> jobs, load_jobs(arguments.load));
  if (jobs.size() != 1)
    return fail(ErrorKind::kInvalidArgument, "export takes one model; the sweep has {} jobs",
                jobs.size());
  const std::filesystem::path file =
      std::filesystem::path(jobs[0].config.model.path) / "config.json";
  ASSIGN_OR_RETURN(const std::string config_json, json_fields::read_text(file, kMaxJsonBytes));
  ASSIGN_OR_RETURN(const Architecture architecture, parse_architecture(config_json, file.string()));
  ASSIGN_OR_RETURN(const AttentionPlan plan, read_plan(arguments.plan_in, architecture.layout()));
  ASSIGN_OR_RETURN(const std::string text, arguments.format == "hf"
                                               ? export_hf(plan, config_json, file.string())
                                           : arguments.format == "swaa" ? export_swaa(plan)
                                                                        : export_heads(plan));
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace

int run_light(const Arguments& arguments) {
  Result<int> code = 0;
  switch (arguments.command) {
    case Command::kSamples: code = samples(arguments); break;
    case Command::kExport: code = export_plan(arguments); break;
    case Command::kReportAblation:
    case Command::kReportClaims:
    case Command::kReportCompare:
    case Command::kReportGrid:
    case Command::kReportLeaderboard:
    case Command::kReportLengths:
    case Command::kReportLongMemEval:
    case Command::kReportPaper:
    case Command::kReportRun:
    case Command::kReportRuns: code = report(arguments); break;
    case Command::kDbCheck:
    case Command::kDbDump:
    case Command::kDbMerge:
    case Command::kDbMigrate: code = database(arguments); break;
    case Command::kRun:
    case Command::kSelect:
    case Command::kVerify:
    case Command::kTrain:
    case Command::kConvert:
    case Command::kScore:
    case Command::kBenchDecode:
    case Command::kBenchGates:
    case Command::kBenchMixer:
    case Command::kBenchPrefill: STRATA_CHECK(false, "these have programs of their own"); break;
  }
  return code ? *code : report_error(code.error());
}

}  // namespace strata::cli
