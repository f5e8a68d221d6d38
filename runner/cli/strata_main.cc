// strata: everything that needs no model, and the door to strata-engine for what does.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runner/cli/arguments.h"
#include "runner/cli/standard_output.h"
#include "runner/config/yaml_writer.h"
#include "runner/convert_config.h"
#include "runner/dry_run.h"
#include "runner/score_config.h"

namespace strata::cli {
namespace {

Result<int> show_configuration(const Arguments& arguments) {
  config::ComposeOptions options =
      arguments.command == Command::kConvert ? convert_options(arguments.load)
      : arguments.command == Command::kScore ? score_options(arguments.load)
                                             : compose_options(arguments.load);
  if (arguments.show_defaults) {
    ASSIGN_OR_RETURN(const std::string tree, config::defaults_tree(options));
    std::fputs(tree.c_str(), stdout);
    return 0;
  }
  options.resolve = arguments.resolve;
  ASSIGN_OR_RETURN(const std::vector<config::Composed> jobs, config::compose(options));
  for (const config::Composed& job : jobs) {
    if (jobs.size() > 1) std::printf("---\n");
    std::fputs(config::to_yaml(job.config).c_str(), stdout);
  }
  return 0;
}

// Checks every job, where an error costs milliseconds; the engine composes once more.
Status check_jobs(const Arguments& arguments) {
  if (arguments.command == Command::kConvert) {
    RETURN_IF_ERROR(load_convert(arguments.load));
    if (arguments.dry_run) std::printf("1 conversion, nothing run\n");
    return {};
  }
  ASSIGN_OR_RETURN(const std::vector<Job> jobs, load_jobs(arguments.load));
  if (!arguments.dry_run) return {};
  const bool asks = arguments.command == Command::kRun || arguments.command == Command::kSelect ||
                    arguments.command == Command::kTrain;
  if (asks && arguments.resume.empty()) RETURN_IF_ERROR(check_without_weights(jobs));
  for (const Job& job : jobs) {
    std::string words;
    for (const std::string& word : job.overrides) words += (words.empty() ? "" : " ") + word;
    std::printf("%s\n", words.empty() ? "(no overrides)" : words.c_str());
  }
  std::printf("%zu job%s, nothing run\n", jobs.size(), jobs.size() == 1 ? "" : "s");
  return {};
}

// Replaces this program; returns only where that fails.
Result<int> hand_on(const std::string& program, char** argv) {
  std::error_code code;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", code);
  const std::string path = (self.parent_path() / program).string();
  ::execv(path.c_str(), argv);
  return fail(
      make_error(ErrorKind::kNotFound, "cannot start {}: {}", path, std::strerror(errno))
          .with_hint(fmt::format("build the target {}; it belongs beside strata", program)));
}

Result<int> with_model(const Arguments& arguments, char** argv) {
  if (arguments.show_job || arguments.show_defaults) return show_configuration(arguments);
  RETURN_IF_ERROR(check_jobs(arguments));
  if (arguments.dry_run) return 0;
  return hand_on("strata-engine", argv);
}

Result<int> with_judge(const Arguments& arguments, char** argv) {
  if (arguments.show_job || arguments.show_defaults) return show_configuration(arguments);
  RETURN_IF_ERROR(load_score(arguments.load));
  return hand_on("strata-judge", argv);
}

int run(const Arguments& arguments, char** argv) {
  Result<int> code = 0;
  switch (arguments.command) {
    case Command::kRun:
    case Command::kSelect:
    case Command::kVerify:
    case Command::kTrain:
    case Command::kConvert:
    case Command::kBenchDecode:
    case Command::kBenchGates:
    case Command::kBenchMixer:
    case Command::kBenchPrefill: code = with_model(arguments, argv); break;
    case Command::kScore: code = with_judge(arguments, argv); break;
    default:
      if (arguments.command != Command::kSamples ||
          !(arguments.show_job || arguments.show_defaults))
        return run_light(arguments);
      code = show_configuration(arguments);
  }
  return code ? *code : report_error(code.error());
}

}  // namespace
}  // namespace strata::cli

int main(int argc, char** argv) {
  using namespace strata::cli;
  const Parsed parsed = parse(argc, argv);
  return flushed(parsed.exit_code >= 0 ? parsed.exit_code : run(parsed.arguments, argv));
}
