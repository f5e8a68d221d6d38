// Beam search over sets of units.
#include <algorithm>
#include <set>

#include "core/score_tensor.h"
#include "strategies/searcher.h"

namespace strata {
namespace {

struct Node {
  Mask mask;
  std::vector<std::size_t> order = {};
  std::vector<double> nll = {};       // of the start and after each of the order
  std::vector<double> accuracy = {};  // likewise, in a search by it
};

using Sets = std::set<std::vector<std::size_t>>;

// The units whose toggle leads to a set that nobody reached this round.
std::vector<std::size_t> fresh_toggles(const Node& node, bool adding, Sets& reached) {
  std::vector<std::size_t> units;
  for (const std::size_t unit : units_with(node.mask, !adding))
    if (reached.insert(node.mask.with(unit, adding).kept_units()).second) units.push_back(unit);
  return units;
}

void expand(const Node& node, bool adding, std::span<const std::size_t> candidates,
            const UnitScores& scores, SearchBy by, std::vector<Node>& out) {
  for (const std::size_t unit : candidates) {
    Node child{node.mask.with(unit, adding), node.order, node.nll, node.accuracy};
    if (child.nll.empty()) child.nll.push_back(scores.context_nll);
    child.order.push_back(unit);
    child.nll.push_back(scores.context_nll - (adding ? 1.0 : -1.0) * scores.score[unit]);
    if (by == SearchBy::kAccuracy) {
      if (child.accuracy.empty()) child.accuracy.push_back(scores.context_accuracy);
      child.accuracy.push_back(scores.accuracy[unit]);
    }
    out.push_back(std::move(child));
  }
}

// Whether a set is better than the context that a scorer scored.
bool improves(const Node& node, double context_nll, double context_accuracy, SearchBy by) {
  if (by == SearchBy::kAccuracy && node.accuracy.back() != context_accuracy)
    return node.accuracy.back() > context_accuracy;
  return node.nll.back() < context_nll;
}

std::vector<Node> best_of(std::vector<Node> nodes, std::size_t width, SearchBy by) {
  // Of two sets of one size the lexicographically lower is the one with the lower units.
  std::sort(nodes.begin(), nodes.end(),
            [](const Node& a, const Node& b) { return a.mask.kept_units() < b.mask.kept_units(); });
  std::vector<double> gains;
  gains.reserve(nodes.size());
  for (const Node& node : nodes) gains.push_back(-node.nll.back());
  std::vector<std::size_t> order = ranked(gains);
  if (by == SearchBy::kAccuracy)
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return nodes[a].accuracy.back() > nodes[b].accuracy.back();
    });
  order.resize(std::min(order.size(), width));
  std::vector<Node> best;
  best.reserve(order.size());
  for (const std::size_t place : order) best.push_back(std::move(nodes[place]));
  return best;
}

}  // namespace

Result<SearchOutcome> beam_search(UnitScorer& scorer, const SelectionRequest& request,
                                  std::size_t k, std::size_t width, SearchFrom from, SearchBy by) {
  const bool adding = from == SearchFrom::kNothing;
  const bool may_stop = adding && request.budget.mode == BudgetMode::kAtMost;
  std::vector<Node> beam{{Mask(request.granularity, request.layout, !adding)}};
  UnitScores first;
  while (beam[0].mask.kept() != k) {
    std::vector<Node> next;
    Sets reached;
    double best_nll = 0, best_accuracy = 0;  // so far
    for (const Node& node : beam) {
      const std::vector<std::size_t> candidates = fresh_toggles(node, adding, reached);
      if (candidates.empty()) continue;
      ASSIGN_OR_RETURN(UnitScores scores, scorer.score(node.mask, candidates));
      STRATA_CHECK(by == SearchBy::kNll || !scores.accuracy.empty());
      if (&node == &beam[0]) {
        best_nll = scores.context_nll;
        best_accuracy = scores.context_accuracy;
      }
      expand(node, adding, candidates, scores, by, next);
      if (node.order.empty()) first = std::move(scores);
    }
    next = best_of(std::move(next), width, by);
    if (may_stop && !beam[0].order.empty() && !improves(next[0], best_nll, best_accuracy, by))
      break;
    beam = std::move(next);
  }
  Node& best = beam[0];
  return SearchOutcome{.mask = std::move(best.mask),
                       .scores = std::move(first),
                       .order = std::move(best.order),
                       .nll = std::move(best.nll),
                       .accuracy = std::move(best.accuracy)};
}

}  // namespace strata
