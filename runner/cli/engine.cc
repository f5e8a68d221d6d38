// Commands that run a model.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/check.h"
#include "core/sha256.h"
#include "models/training/training_checkpoint.h"
#include "results/writer_lock.h"
#include "runner/cli/arguments.h"
#include "runner/cli/bench.h"
#include "runner/cli/terminal_progress.h"
#include "runner/cli/verify.h"
#include "runner/convert.h"
#include "runner/experiment.h"
#include "runner/recorded.h"
#include "runner/training.h"

namespace strata::cli {
namespace {

// Version and the running binary's own hash: two builds that could differ in numbers never share a
// name.
std::string build_id() {
  std::ifstream in("/proc/self/exe", std::ios::binary);
  Sha256 hash;
  std::vector<char> block(1 << 20);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0)
    hash.update(std::string_view(block.data(), static_cast<std::size_t>(in.gcount())));
  return fmt::format("{}+{}", STRATA_VERSION, hash.hex_digest().substr(0, 12));
}

void warn_of_signs(const std::string& who, const std::vector<std::string>& signs) {
  for (const std::string& sign : signs)
    std::fprintf(stderr, "warning: %s shows a sign of a bug: %s\n", who.c_str(), sign.c_str());
}

void note_all(const std::vector<std::string>& notices) {
  for (const std::string& notice : notices) std::fprintf(stderr, "note: %s\n", notice.c_str());
}

// Before the selection, which may take hours. (Models have check_free_for_model.)
Status check_free(const std::string& file) {
  if (file.empty() || !std::filesystem::exists(file)) return {};
  return fail(
      make_error(ErrorKind::kInvalidArgument, "expected nothing where the file goes, got something")
          .at(file)
          .with_hint("remove it, or give another name"));
}

// Of a command that goes on when it is repeated.
Error resumable(Error error) {
  if (error.kind != ErrorKind::kInterrupted) return error;
  return std::move(error).with_hint("the same command carries on where it stopped");
}

Status select(const Arguments& arguments, const std::vector<Job>& jobs,
              TerminalProgress& progress) {
  if (jobs.size() != 1)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "select makes one plan; the sweep has {} jobs", jobs.size())
                    .with_hint("use `strata run -m` for sweeps"));
  RETURN_IF_ERROR(check_free(arguments.plan_out));
  RETURN_IF_ERROR(check_free(arguments.selection_out));
  Workbench workbench;
  const ExperimentConfig& config = jobs[0].config;
  const std::filesystem::path checkpoint = arguments.plan_out + ".training/selection.json";
  Result<SelectedPlan> made = run_selection(config, workbench, progress, checkpoint);
  if (!made) {
    Error error = std::move(made).error();
    if (std::filesystem::exists(checkpoint.parent_path())) error = resumable(std::move(error));
    return fail(std::move(error));
  }
  const SelectedPlan& selected = *made;
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
  RETURN_IF_ERROR(write_atomically(arguments.plan_out, selected.plan.to_json().dump(1) + "\n"));
  if (!arguments.selection_out.empty())
    RETURN_IF_ERROR(write_atomically(arguments.selection_out,
                                     selection_json(config, selected, model->id()).dump(1) + "\n"));
  remove_checkpoints({checkpoint});
  std::printf("plan %s: %zu of %zu units keep full attention; written to %s\n",
              selected.plan.id().substr(0, 12).c_str(), selected.selection.mask.kept(),
              selected.selection.mask.size(), arguments.plan_out.c_str());
  if (selected.supervision != "none") note_all(task->calibration_notices);
  warn_of_signs(config.strategy_name(), signs_in(selected.selection.diagnostics));
  return {};
}

Status train(const Arguments& arguments, const std::vector<Job>& jobs, TerminalProgress& progress) {
  if (jobs.size() != 1)
    return fail(ErrorKind::kInvalidArgument, "train makes one model; the sweep has {} jobs",
                jobs.size());
  Workbench workbench;
  const TrainingRequest request{
      .directory = arguments.model_out,
      .steps = arguments.train_steps,
      .batch = arguments.train_batch,
      .activation_mib = arguments.activation_mib,
      .checkpoint_seconds = arguments.checkpoint_seconds,
      .weights = {.rate = arguments.train_rate, .clip = arguments.train_clip}};
  ASSIGN_OR_RETURN(const TrainedModel trained,
                   train_model(jobs[0].config, request, workbench, progress));
  std::printf("model %s written to %s\n", trained.id.substr(0, 12).c_str(),
              arguments.model_out.c_str());
  return {};
}

Status convert(const Arguments& arguments, TerminalProgress& progress) {
  ASSIGN_OR_RETURN(const ConvertJob job, load_convert(arguments.load));
  Result<Converted> made = strata::convert(job.config, arguments.model_out, progress);
  if (!made) return fail(resumable(std::move(made).error()));
  std::printf("%s, model %s, written to %s\n", made->words.c_str(), made->id.substr(0, 12).c_str(),
              arguments.model_out.c_str());
  return {};
}

void report_done(const RunOutcome& outcome) {
  std::string words = fmt::format("run {} {} done", outcome.run_id.substr(0, 12), outcome.label);
  if (outcome.answered_before > 0)
    words += fmt::format(" ({} of {} samples were answered before)", outcome.answered_before,
                         outcome.samples);
  std::printf("%s\n", words.c_str());
  std::fflush(stdout);
  note_all(outcome.notices);
  warn_of_signs("run " + outcome.run_id.substr(0, 12) + " " + outcome.label, outcome.signs);
}

// A database that this process may carry out runs in.
struct OpenedStore {
  Store store;
  WriterLock lock;
  static Result<OpenedStore> open(const std::string& path) {
    ASSIGN_OR_RETURN(Store store, Store::open(path, Store::Mode::kReadWrite));
    ASSIGN_OR_RETURN(WriterLock lock, WriterLock::acquire(path));
    return OpenedStore{std::move(store), std::move(lock)};
  }
};

Status resume(const Arguments& arguments, const std::vector<Job>& jobs,
              TerminalProgress& progress) {
  if (jobs.size() != 1)
    return fail(ErrorKind::kInvalidArgument, "--resume takes one run; the sweep has {} jobs",
                jobs.size());
  const std::string& db = jobs[0].config.db;
  ASSIGN_OR_RETURN(const Store found, Store::open(db, Store::Mode::kReadOnly));
  ASSIGN_OR_RETURN(const RunRow run, found.run(arguments.resume));
  if (run.status == RunStatus::kDone) {
    std::printf("run %s %s is finished; there is nothing to carry on\n",
                run.id.substr(0, 12).c_str(), run.label.c_str());
    return {};
  }
  const std::string build = build_id();
  Workbench workbench;
  ASSIGN_OR_RETURN(OpenedStore opened, OpenedStore::open(db));
  ASSIGN_OR_RETURN(const Job job, job_to_resume(run, db, workbench, opened.store, build));
  ASSIGN_OR_RETURN(const RunOutcome outcome,
                   run_job(job, run, workbench, opened.store, build, progress));
  report_done(outcome);
  return {};
}

Status run(std::vector<Job> all_jobs, TerminalProgress& progress) {
  Workbench workbench;
  ASSIGN_OR_RETURN(const std::vector<Job> jobs, runs_of(std::move(all_jobs), workbench));
  if (jobs.empty()) return fail(ErrorKind::kInvalidArgument, "the sweep is empty");
  ASSIGN_OR_RETURN(OpenedStore opened, OpenedStore::open(jobs[0].config.db));
  const std::string build = build_id();
  std::optional<Error> first_error;
  std::size_t failed = 0;
  std::size_t known = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].config.db != opened.store.path()) {
      ASSIGN_OR_RETURN(opened, OpenedStore::open(jobs[i].config.db));
    }
    progress.set_prefix(jobs.size() > 1 ? fmt::format("[{:>2}/{}] ", i + 1, jobs.size()) : "");
    ASSIGN_OR_RETURN(const Recorded recorded,
                     find_recorded(jobs[i], workbench, opened.store, build));
    if (recorded.finished) {
      ++known;
      continue;
    }
    Result<RunOutcome> outcome =
        run_job(jobs[i], recorded.unfinished, workbench, opened.store, build, progress);
    if (outcome) {
      report_done(*outcome);
      continue;
    }
    // One job's failure must not lose the others; an interrupt ends them all.
    if (outcome.error().kind == ErrorKind::kInterrupted)
      return fail(resumable(std::move(outcome).error()));
    ++failed;
    if (jobs.size() > 1) std::fprintf(stderr, "error: %s\n", outcome.error().text().c_str());
    if (!first_error) first_error = std::move(outcome).error();
  }
  if (!first_error) {
    std::printf("%zu run%s recorded in %s", jobs.size() - known,
                jobs.size() - known == 1 ? "" : "s", opened.store.path().c_str());
    std::printf("%s\n", known > 0 ? fmt::format("; {} were there already", known).c_str() : "");
    return {};
  }
  if (jobs.size() == 1) return fail(std::move(*first_error));
  return fail(first_error->kind, "{} of {} jobs failed (above)", failed, jobs.size());
}

}  // namespace

int run_engine(const Arguments& arguments) {
  listen_for_interrupts();
  TerminalProgress progress;
  if (arguments.command == Command::kConvert) {
    const Status converted = convert(arguments, progress);
    return converted ? 0 : report_error(converted.error());
  }
  Result<std::vector<Job>> jobs = load_jobs(arguments.load);
  if (!jobs) return report_error(jobs.error());
  Status status;
  switch (arguments.command) {
    case Command::kSelect: status = select(arguments, *jobs, progress); break;
    case Command::kVerify: status = verify(arguments, *jobs, build_id(), progress); break;
    case Command::kTrain: status = train(arguments, *jobs, progress); break;
    case Command::kBenchDecode:
    case Command::kBenchGates:
    case Command::kBenchMixer:
    case Command::kBenchPrefill: status = bench(arguments, (*jobs)[0].config, progress); break;
    default:
      status = arguments.resume.empty() ? run(*std::move(jobs), progress)
                                        : resume(arguments, *jobs, progress);
  }
  return status ? 0 : report_error(status.error());
}

}  // namespace strata::cli
