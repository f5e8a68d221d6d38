// strata-judge: strata score, apart from strata because libcurl and all that it brings take longer
// to load than a command that asks nobody may take.
#include <cstdio>
#include <filesystem>

#include "benchmarks/judge/endpoint.h"
#include "results/writer_lock.h"
#include "runner/cli/arguments.h"
#include "runner/cli/standard_output.h"
#include "runner/cli/terminal_progress.h"
#include "runner/judging.h"
#include "runner/score_config.h"

namespace strata::cli {
namespace {

Result<int> score(const Arguments& arguments) {
  ASSIGN_OR_RETURN(ScoreConfig config, load_score(arguments.load));
  if (!arguments.names.empty()) config.db = arguments.names[0];
  ScoreRequest request{.judge = config.judge, .where = {}, .dry_run = arguments.dry_run};
  for (const std::string& text : arguments.where) {
    ASSIGN_OR_RETURN(KeyFilter filter, parse_key_filter(text));
    request.where.push_back(std::move(filter));
  }
  // (Opening for writing would make a database of a wrong name.)
  if (!std::filesystem::exists(config.db))
    return fail(make_error(ErrorKind::kNotFound, "there is no such file").at(config.db));
  ASSIGN_OR_RETURN(
      Store store,
      Store::open(config.db, arguments.dry_run ? Store::Mode::kReadOnly : Store::Mode::kReadWrite));
  std::optional<WriterLock> lock;
  if (!arguments.dry_run) {
    ASSIGN_OR_RETURN(lock, WriterLock::acquire(config.db, WriterLock::Work::kScore));
  }
  TerminalProgress progress;
  ASSIGN_OR_RETURN(const Scored scored, score_responses(store, request, progress));
  ASSIGN_OR_RETURN(const Endpoint endpoint, endpoint_of(config.judge));
  std::printf("%s\n",
              summary_line(config.judge, endpoint.host, scored.counts, arguments.dry_run).c_str());
  if (scored.error) return fail(*scored.error);
  return 0;
}

}  // namespace
}  // namespace strata::cli

int main(int argc, char** argv) {
  using namespace strata::cli;
  const Parsed parsed = parse(argc, argv);
  if (parsed.exit_code >= 0) return flushed(parsed.exit_code);
  if (parsed.arguments.command != Command::kScore) {
    std::fprintf(stderr, "error: strata-judge is the part of strata that runs `strata score`\n");
    return 2;
  }
  listen_for_interrupts();
  const strata::Result<int> code = score(parsed.arguments);
  return flushed(code ? *code : report_error(code.error()));
}
