// Two runs on the same samples: what differs, by how much, whether that is more than chance, and on
// which samples. Built from rows alone.
//
// Differences are second − first, over the samples that both answered. Where the samples' clusters
// do not support a test there is no p-value, and the test's name says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/inference.h"
#include "results/reports/page.h"
#include "results/store.h"

namespace strata {

struct ComparedRun {
  std::string label, model_name, plan_id;
  std::vector<std::string> environments;
  RowSource source;
};

struct MetricComparison {
  std::string metric;
  std::size_t samples = 0;  // that both have a value of
  double first = 0, second = 0;
  Estimate difference;  // t over independent samples, bootstrap over clusters else
  // "McNemar", "sign flip", "too few clusters (12 of 20)", "too large" where numbers are beyond all
  // bounds
  std::string test;
  std::optional<double> p, holm_p;   // Holm over the metrics of the comparison
  std::optional<double> paired_t_p;  // of independent samples that are not 0/1
  std::optional<double> margin;      // of the equivalence test
  // Both over samples, or over the means of clusters whatever their sizes. Nothing is detectable
  // and the test is inconclusive below kClustersForInference of them, and where all differ by the
  // same but 0/1 answers.
  std::optional<double> detectable;  // the difference that is found with a power of 80 %
  std::optional<EquivalenceTest> equivalence;
};

struct ChangedSample {
  std::string sample_id, prompt_end, answer, first_text, second_text;
  std::optional<double> first_right, second_right;  // by RunComparison::answer_metric
  std::optional<double> nll_change;                 // nats a token
  bool answer_changed() const;                      // both have the metric, and differ
};

struct RunComparison {
  ComparedRun first, second;
  std::size_t shared = 0, only_first = 0, only_second = 0, clusters = 0;
  std::size_t texts = 0, different_texts = 0;  // of samples for which both generated
  std::vector<MetricComparison> metrics;       // answer_nll first
  // What says which answers are right, one for all samples: gen_contains, string_match_all or
  // _part, tf_exact; the one that most samples have of both, of those the first. "" = none.
  std::string answer_metric;
  std::vector<ChangedSample> changed;   // right ↔ wrong first, then by |nll_change|
  std::size_t changed_answers = 0;      // by answer_metric
  const MetricComparison* nll() const;  // null: not both were scored
};

struct CompareRequest {
  std::size_t samples = 20;  // changed ones that are kept
  std::uint64_t seed = 0;
};

// The runs by id or a unique beginning of one; each must have answers. Errors: no such run, no
// sample in common.
Result<RunComparison> compare_runs(const Store& first, std::string_view first_run,
                                   const Store& second, std::string_view second_run,
                                   const CompareRequest& request);

struct DatabaseComparison {
  std::vector<RunComparison> pairs;             // by label
  std::vector<std::optional<double>> nll_holm;  // of answer_nll, over the pairs that have a p
  std::vector<std::string> notes;  // runs of one database alone, pairs without a common sample
};

// Finished runs of two databases that were asked the same: label, model name, benchmark and its
// settings, mixer, budget, seeds and calibration. Of several the latest. Holm is over the pairs.
Result<DatabaseComparison> compare_databases(const Store& first, const Store& second,
                                             const CompareRequest& request);

ReportPage compare_page(const RunComparison& comparison);
// The rows that both were read from, and a query of the difference in NLL and of each metric.
ReportPage compare_trace(const RunComparison& comparison);
ReportPage compare_page(const DatabaseComparison& comparison);

}  // namespace strata
