// What a LongMemEval file holds, without its texts: which questions there are, to which split each
// belongs, and which sessions it shares with others.
//
// Questions that share an evidence session are one group (a question and its twin that the history
// does not answer): a group is a cluster and lies in one split, by the hash of its least id. A
// session lies in the split of the questions for which it is evidence, else in that of the hash of
// its content.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "benchmarks/benchmark.h"
#include "benchmarks/longmemeval_config.h"
#include "benchmarks/longmemeval_file.h"

namespace strata {

struct CataloguedQuestion {
  std::string id;
  std::string group;
  Split split = Split::kTest;
  std::vector<std::string> sessions;  // ids of their contents (SessionId), as in the file
  std::vector<bool> evidence;         // for each session
  bool asked = false;                 // the config asks for questions such as this
};

struct CataloguedSession {
  Split split = Split::kTest;
  std::string evidence_of;  // a group; empty: of none
  bool empty = false;       // it has no turn
  std::size_t order = 0;    // of first occurrence in the file
};

struct Catalogue {
  std::vector<CataloguedQuestion> questions;  // in the file's order
  std::map<std::string, CataloguedSession> sessions;
};

std::string session_id(const DatedSession& session);

// Reads the whole file once. Errors: those of the reader; a file without a question.
Result<Catalogue> catalogue_of(const std::filesystem::path& path, const LongMemEvalConfig& config);

// The distractors of one question, as the config and `seed` draw them: ids of sessions.
// sessions=0: none. Errors: more evidence than benchmark.sessions; too few sessions to draw from.
Result<std::vector<std::string>> draw_distractors(const Catalogue& catalogue,
                                                  const CataloguedQuestion& question,
                                                  const LongMemEvalConfig& config,
                                                  std::uint64_t seed);

}  // namespace strata
