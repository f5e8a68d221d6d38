#include "results/reports/reference_claims.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/json_reader.h"
#include "results/reports/format.h"
#include "results/reports/selector_claims.h"

namespace strata {
namespace {

constexpr std::array<const char*, 2> kCandidates = {"nll_restore", "nll_ablate"};
constexpr double kAlpha = 0.05;
constexpr double kPercent = 100;
constexpr std::size_t kSeedsForTable = 2;
constexpr double kLargestDifference = 1e6;  // nats; a database may hold any number
constexpr const char* kNotSupported = "not supported";

const std::string& own_label(const SelectorRuns& runs) { return runs.seeds[0]->run.label; }

bool same_selector(const SelectorRuns& a, const SelectorRuns& b) {
  return own_label(a) == own_label(b) && a.strategy == b.strategy && a.calibration == b.calibration;
}

// The reference's run on the same calibration set, or null.
const Evaluation* partner_of(const Evaluation& run, const SelectorRuns& reference) {
  for (const Evaluation* candidate : reference.seeds)
    if (candidate->selection->calibration_id == run.selection->calibration_id) return candidate;
  return nullptr;
}

struct Pair {
  double first = 0, second = 0;
  std::size_t seeds = 0;
};

// Means of two selectors over the calibration sets that both looked at; none where there are none,
// or where a value is missing.
template <typename Value>
std::optional<Pair> shared_means(const SelectorRuns& a, const SelectorRuns& b, Value value) {
  std::vector<double> of_a, of_b;
  for (const Evaluation* run : a.seeds)
    if (const Evaluation* partner = partner_of(*run, b)) {
      const std::optional<double> first = value(*run);
      const std::optional<double> second = value(*partner);
      if (!first || !second) return std::nullopt;
      of_a.push_back(*first);
      of_b.push_back(*second);
    }
  if (of_a.empty()) return std::nullopt;
  return Pair{mean_of(of_a).value, mean_of(of_b).value, of_a.size()};
}

// On development samples: of the data sets that both answered, the largest.
std::optional<Pair> development_nll(const SelectorRuns& a, const SelectorRuns& b,
                                    const std::vector<const Evaluation*>& development) {
  std::map<std::string, std::vector<const Evaluation*>> data_sets;
  for (const Evaluation* evaluation : development)
    data_sets[evaluation->experiment.data_id].push_back(evaluation);
  std::optional<Pair> out;
  std::size_t most = 0;
  for (const auto& [id, evaluations] : data_sets) {
    const SelectorRuns *of_a = nullptr, *of_b = nullptr;
    const std::vector<SelectorRuns> selectors = selector_runs(evaluations);
    for (const SelectorRuns& runs : selectors) {
      if (same_selector(runs, a)) of_a = &runs;
      if (same_selector(runs, b)) of_b = &runs;
    }
    if (of_a == nullptr || of_b == nullptr || of_a->seeds[0]->nll.size() <= most) continue;
    const auto means = shared_means(*of_a, *of_b, [](const Evaluation& evaluation) {
      return std::optional(mean_of(evaluation.nll).value);
    });
    if (!means) continue;
    most = of_a->seeds[0]->nll.size();
    out = means;
  }
  return out;
}

struct Choice {
  const SelectorRuns* runs = nullptr;
  std::string why;
};

// Which candidate is the reference under its calibration setting; none where nothing tells.
Choice choose(const std::vector<const SelectorRuns*>& candidates,
              const std::vector<const Evaluation*>& development) {
  const SelectorRuns& first = *candidates[0];
  if (candidates.size() == 1) return {&first, "the only one of nll_restore and nll_ablate here"};
  const SelectorRuns& second = *candidates[1];
  const auto better = [&](const Pair& nll, std::string_view on) -> Choice {
    const bool takes_first = nll.first <= nll.second;
    return {
        takes_first ? &first : &second,
        fmt::format("chosen on {}: NLL {:.3f}, {} has {:.3f} ({})", on,
                    takes_first ? nll.first : nll.second, own_label(takes_first ? second : first),
                    takes_first ? nll.second : nll.first,
                    plural(static_cast<std::int64_t>(nll.seeds), "seed"))};
  };
  if (const auto nll = development_nll(first, second, development))
    return better(*nll, "the development split");
  if (const auto nll = shared_means(first, second, [](const Evaluation& evaluation) {
        return evaluation.run.calibration_nll;
      }))
    return better(*nll, "the calibration prompts, as there are no development runs of both");
  return {};
}

// The runs of each candidate under a calibration setting; of several settings of a strategy the one
// with most seeds.
std::vector<const SelectorRuns*> candidates_of(const std::vector<SelectorRuns>& selectors,
                                               const std::string& calibration) {
  std::vector<const SelectorRuns*> out;
  for (const char* label : kCandidates) {
    const SelectorRuns* most = nullptr;
    for (const SelectorRuns& runs : selectors)
      if (own_label(runs) == label && runs.calibration == calibration &&
          (most == nullptr || runs.seeds.size() > most->seeds.size()))
        most = &runs;
    if (most != nullptr) out.push_back(most);
  }
  return out;
}

std::optional<double> flops_without_reuse(const Evaluation& reference) {
  const auto diagnostics =
      parse_json(reference.selection->diagnostics_json).value_or(nlohmann::json());
  if (!diagnostics.is_object()) return std::nullopt;
  const auto flops = diagnostics.find("flops_without_reuse");
  if (flops == diagnostics.end() || !flops->is_number() || !(flops->get<double>() > 0))
    return std::nullopt;
  return flops->get<double>();
}

// FLOPs of the selections, of toggling every unit as the reference does; mean over seeds.
std::optional<double> flops_share(const SelectorRuns& selector, const SelectorRuns& reference) {
  std::vector<double> shares;
  for (const Evaluation* run : selector.seeds)
    if (const Evaluation* partner = partner_of(*run, reference))
      if (const auto whole = flops_without_reuse(*partner))
        shares.push_back(run->selection->cost.flops / *whole);
  if (shares.empty()) return std::nullopt;
  return mean_of(shares).value;
}

// Over the calibration sets that both looked at.
ReferenceClaim claim_of(const SelectorRuns& selector, const SelectorRuns& reference,
                        const std::vector<std::size_t>& clusters, bool enough_clusters,
                        std::uint64_t seed) {
  ReferenceClaim claim{.label = selector.label};
  std::vector<double> over_seeds(clusters.size(), 0.0);  // the sum, sample by sample
  for (const Evaluation* run : selector.seeds) {
    const Evaluation* partner = partner_of(*run, reference);
    if (partner == nullptr) continue;
    std::vector<double> differences;
    for (std::size_t i = 0; i < run->nll.size(); ++i)
      differences.push_back(run->nll[i] - partner->nll[i]);
    const double mean = mean_of(differences).value;
    if (!(std::abs(mean) < kLargestDifference)) continue;
    for (std::size_t i = 0; i < differences.size(); ++i) over_seeds[i] += differences[i];
    claim.differences.push_back(mean);
    claim.sources.emplace_back(run->source(), partner->source());
    claim.same_plans += run->experiment.plan_id == partner->experiment.plan_id ? 1U : 0U;
  }
  claim.flops_share = flops_share(selector, reference);
  if (claim.differences.size() < kSeedsForClaim || !enough_clusters) return claim;
  claim.non_inferiority = std::get<NonInferiority>(non_inferiority(claim.differences));
  claim.equivalence = equivalence(claim.differences, kNllMargin, kAlpha);
  const PValue flipped = cluster_sign_flip(over_seeds, clusters, {.seed = seed});
  if (const double* p = std::get_if<double>(&flipped)) claim.sign_flip_p = *p;
  return claim;
}

void adjust(ReferenceComparison& comparison) {
  std::vector<double> p;
  for (const ReferenceClaim& claim : comparison.claims)
    if (claim.non_inferiority) p.push_back(claim.non_inferiority->p);
  comparison.family = p.size();
  const std::vector<double> adjusted = holm(p);
  auto next = adjusted.begin();
  for (ReferenceClaim& claim : comparison.claims)
    if (claim.non_inferiority) claim.holm_p = *next++;
}

// "16 calibration prompts", where the setting says so.
std::string prompts_text(const std::string& calibration) {
  const auto setting = parse_json(calibration).value_or(nlohmann::json());
  const auto samples = setting.is_object() ? setting.find("samples") : setting.end();
  if (samples == setting.end() || !samples->is_number_integer()) return "";
  return plural(samples->get<std::int64_t>(), "calibration prompt");
}

TextTable::Cell claim_p_text(const std::optional<double>& p) {
  return p && *p == 0 ? "0" : p_text(p);  // no spread
}

std::string equivalence_text(const ReferenceClaim& claim) {
  if (!claim.equivalence) return kNotSupported;
  return fmt::format("{} ({})", to_string(claim.equivalence->answer),
                     claim.equivalence->n_needed.value_or(0));
}

}  // namespace

double ReferenceClaim::mean() const { return mean_of(differences).value; }

std::optional<double> ReferenceClaim::between_seed_sd() const {
  const std::optional<double> error = mean_of(differences).standard_error;
  if (!error) return std::nullopt;
  return *error * std::sqrt(static_cast<double>(differences.size()));
}

std::optional<bool> ReferenceClaim::non_inferior() const {
  if (!holm_p) return std::nullopt;
  return *holm_p < kAlpha;
}

std::vector<ReferenceComparison> reference_comparisons(const BlockMembers& members,
                                                       const std::vector<std::size_t>& clusters,
                                                       std::uint64_t seed,
                                                       std::vector<std::string>& notes) {
  std::vector<ReferenceComparison> out;
  if (members.budgeted.empty() || members.budgeted[0]->split != kTestSplit) return out;
  const std::vector<SelectorRuns> selectors = selector_runs(members.budgeted);
  std::vector<std::string> settings;
  for (const SelectorRuns& runs : selectors)
    if (std::find(settings.begin(), settings.end(), runs.calibration) == settings.end())
      settings.push_back(runs.calibration);
  for (const std::string& calibration : settings) {
    const auto candidates = candidates_of(selectors, calibration);
    if (candidates.empty()) continue;
    const Choice reference = choose(candidates, members.development);
    if (reference.runs == nullptr) {
      notes.emplace_back(
          "no claims against a reference: neither development runs nor calibration NLLs tell which "
          "of nll_restore and nll_ablate it is");
      continue;
    }
    ReferenceComparison comparison{
        .reference = reference.runs->label,
        .chosen = reference.why,
        .calibration = prompts_text(calibration),
        .clusters = 1 + *std::max_element(clusters.begin(), clusters.end())};
    const bool enough = comparison.clusters >= kClustersForInference;
    comparison.reference_flops_share = flops_share(*reference.runs, *reference.runs);
    for (const SelectorRuns& runs : selectors) {
      if (&runs == reference.runs || runs.calibration != calibration ||
          runs.seeds[0]->run.group == "inverted")
        continue;
      ReferenceClaim claim = claim_of(runs, *reference.runs, clusters, enough, seed);
      if (claim.differences.size() >= kSeedsForTable) comparison.claims.push_back(std::move(claim));
    }
    if (comparison.claims.empty()) continue;
    std::stable_sort(comparison.claims.begin(), comparison.claims.end(),
                     [](const auto& a, const auto& b) { return a.mean() < b.mean(); });
    adjust(comparison);
    out.push_back(std::move(comparison));
  }
  return out;
}

std::string comparison_heading(const ReferenceComparison& comparison) {
  std::string out = "against " + comparison.reference;
  if (!comparison.calibration.empty()) out += " · " + comparison.calibration;
  out += " · " + comparison.chosen;
  if (comparison.reference_flops_share)
    out += fmt::format(" · its own selection: {} % of toggling without reuse",
                       percent(*comparison.reference_flops_share));
  if (comparison.clusters < kClustersForInference)
    return out + fmt::format(" · inference is not supported here: {} clusters, {} are needed",
                             comparison.clusters, kClustersForInference);
  if (comparison.family == 0)
    return out + fmt::format(" · {} seeds are needed for an answer", kSeedsForClaim);
  return out + fmt::format(" · Holm over a family of {}", comparison.family);
}

TextTable comparison_table(const ReferenceComparison& comparison) {
  TextTable table;
  table.columns = {{"selector", false},
                   {"seeds (same plan)"},
                   {"ΔNLL"},
                   {"SD"},
                   {"upper"},
                   {"non-inferior", false},
                   {"p"},
                   {"Holm p"},
                   {"equivalence (n)", false},
                   {"flip p"},
                   {"FLOPs %"}};
  for (const ReferenceClaim& claim : comparison.claims) {
    const auto& test = claim.non_inferiority;
    const std::optional<bool> shown = claim.non_inferior();
    table.rows.push_back(
        {claim.label, fmt::format("{} ({})", claim.differences.size(), claim.same_plans),
         fmt::format("{:+.4f}", claim.mean()), number(claim.between_seed_sd(), 4),
         test ? fmt::format("{:+.4f}", test->upper) : kNoValue,
         shown ? (*shown ? "yes" : "no") : kNotSupported,
         claim_p_text(test ? std::optional(test->p) : std::nullopt), claim_p_text(claim.holm_p),
         equivalence_text(claim), claim_p_text(claim.sign_flip_p),
         claim.flops_share ? percent(*claim.flops_share) : kNoValue});
  }
  return table;
}

std::string comparison_footer() {
  return fmt::format(
      "Against a reference, over the calibration sets that both looked at ({} are needed for an "
      "answer): ΔNLL: the selector's NLL − the reference's on the same samples, mean over samples "
      "and then seeds; SD: over seeds; (same plan): seeds on which both chose one plan. upper: "
      "one-sided 95 % bound, t over seeds; p: of being worse by {:g} nat or more; non-inferior: "
      "Holm-adjusted p below {:g}. equivalence: two one-sided t tests of a difference within {:g} "
      "nat (n: seeds for a "
      "power of 80 %). These speak of new seeds on these samples; flip p, of the mean over seeds "
      "being 0, of new clusters under these seeds' plans. FLOPs %: the selection's, of toggling "
      "every unit as the reference does, without reuse.",
      kSeedsForClaim, kNllMargin, kAlpha, kNllMargin);
}

}  // namespace strata
