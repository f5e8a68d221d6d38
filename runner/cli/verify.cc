#include "runner/cli/verify.h"

#include <cstdio>

#include "results/reports/text_table.h"
#include "runner/verify.h"

namespace strata::cli {
namespace {

std::string words_of(const ExecutionRow& execution, const ExperimentRow& experiment) {
  return without_controls(fmt::format("{}, {} thread{}, {}, {}, build {}, numerics {}",
                                      execution.device, execution.threads,
                                      execution.threads == 1 ? "" : "s", execution.dtype,
                                      execution.cpu, execution.build, experiment.numerics_version));
}

std::string page(const Verification& found, const AttentionPlan& plan, const Arguments& arguments) {
  std::string out = fmt::format(
      "plan {:.12}, run {:.12} ({}, {}): {} of {} stored samples rerun (seed {})\n", plan.id(),
      found.run.id, without_controls(found.run.label), without_controls(found.run.benchmark),
      found.samples.size(), found.stored, arguments.verify_seed);
  for (const ExecutionRow& execution : found.recorded)
    out += fmt::format("  recorded  {}\n", words_of(execution, found.was));
  out += fmt::format("  rerun     {}\n\n", words_of(found.now, found.is));
  TextTable table{{{"sample", false},
                   {"recorded"},
                   {"rerun"},
                   {"Δ nat/token"},
                   {"largest |Δ|"},
                   {"argmax"},
                   {"text"},
                   {"", false}},
                  {}};
  for (const SampleDrift& sample : found.samples) {
    const bool beyond = sample.largest > arguments.tolerance;
    table.rows.push_back(
        {sample.id.substr(0, 12), fmt::format("{:.6f}", sample.was),
         fmt::format("{:.6f}", sample.is), fmt::format("{:+.1e}", sample.is - sample.was),
         fmt::format("{:.1e}", sample.largest),
         sample.changed_argmax == 0
             ? "same"
             : fmt::format("{} of {} changed", sample.changed_argmax, sample.positions),
         sample.changed_text ? "changed" : "same", beyond || sample.changed() ? "drift" : ""});
  }
  out += as_text(table);
  out += fmt::format(
      "\nlargest |Δ| at an answer position {:.1e} nat (tolerance {:g}), mean |Δ| of samples {:.1e} "
      "nat/token; {} sample{} with changed argmax or text ({} allowed)\n",
      found.largest(), arguments.tolerance, found.mean(), found.changed(),
      found.changed() == 1 ? "" : "s", arguments.allowed_changes);
  return out;
}

std::string hint(const Verification& found) {
  std::string text =
      "what differs is above: device, dtype, build; where nothing does, the stored answers were "
      "edited or a build computes something else under one numerics version";
  if (found.now.dtype != "float32")
    text += fmt::format(
        "; in {} a batch of other samples rounds otherwise: --tolerance and --changes say how far",
        found.now.dtype);
  return text;
}

}  // namespace

Status verify(const Arguments& arguments, const std::vector<Job>& jobs, const std::string& build,
              Progress& progress) {
  if (jobs.size() != 1)
    return fail(ErrorKind::kInvalidArgument, "verify takes one configuration; the sweep has {}",
                jobs.size());
  ASSIGN_OR_RETURN(const AttentionPlan plan, read_plan_file(arguments.plan_in));
  ASSIGN_OR_RETURN(const Store store, Store::open(jobs[0].config.db, Store::Mode::kReadOnly));
  ASSIGN_OR_RETURN(const std::optional<ExperimentConfig> recorded,
                   recorded_config(store, plan, jobs[0], arguments.load.overrides));
  Workbench workbench;
  ASSIGN_OR_RETURN(
      const Verification found,
      strata::verify(recorded ? *recorded : jobs[0].config, plan,
                     {.samples = arguments.verify_samples, .seed = arguments.verify_seed},
                     workbench, store, build, progress));
  const std::string text = page(found, plan, arguments);
  std::fputs((arguments.ascii ? to_ascii(text) : text).c_str(), stdout);
  std::fflush(stdout);
  const std::size_t beyond = found.beyond(arguments.tolerance);
  if (beyond == 0 && found.changed() <= arguments.allowed_changes) return {};
  return fail(
      make_error(
          ErrorKind::kInvalidFile,
          "answers have drifted: {} of {} samples beyond {:g} nat, {} with changed argmax or "
          "text",
          beyond, found.samples.size(), arguments.tolerance, found.changed())
          .at(store.path())
          .with_hint(hint(found)));
}

}  // namespace strata::cli
