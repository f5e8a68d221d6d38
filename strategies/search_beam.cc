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
  std::vector<double> nll = {};  // of the start and after each of the order
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
            const UnitScores& scores, std::vector<Node>& out) {
  for (const std::size_t unit : candidates) {
    Node child{node.mask.with(unit, adding), node.order, node.nll};
    if (child.nll.empty()) child.nll.push_back(scores.context_nll);
    child.order.push_back(unit);
    child.nll.push_back(scores.context_nll - (adding ? 1.0 : -1.0) * scores.score[unit]);
    out.push_back(std::move(child));
  }
}

std::vector<Node> best_of(std::vector<Node> nodes, std::size_t width) {
  // Of two sets of one size the lexicographically lower is the one with the lower units.
  std::sort(nodes.begin(), nodes.end(),
            [](const Node& a, const Node& b) { return a.mask.kept_units() < b.mask.kept_units(); });
  std::vector<double> gains;
  gains.reserve(nodes.size());
  for (const Node& node : nodes) gains.push_back(-node.nll.back());
  std::vector<std::size_t> order = ranked(gains);
  order.resize(std::min(order.size(), width));
  std::vector<Node> best;
  best.reserve(order.size());
  for (const std::size_t place : order) best.push_back(std::move(nodes[place]));
  return best;
}

}  // namespace

Result<SearchOutcome> beam_search(UnitScorer& scorer, const SelectionRequest& request,
                                  std::size_t k, std::size_t width, SearchFrom from) {
  const bool adding = from == SearchFrom::kNothing;
  const bool may_stop = adding && request.budget.mode == BudgetMode::kAtMost;
  std::vector<Node> beam{{Mask(request.granularity, request.layout, !adding)}};
  UnitScores first;
  while (beam[0].mask.kept() != k) {
    std::vector<Node> next;
    Sets reached;
    double best_so_far = 0;
    for (const Node& node : beam) {
      const std::vector<std::size_t> candidates = fresh_toggles(node, adding, reached);
      if (candidates.empty()) continue;
      ASSIGN_OR_RETURN(UnitScores scores, scorer.score(node.mask, candidates));
      if (&node == &beam[0]) best_so_far = scores.context_nll;
      expand(node, adding, candidates, scores, next);
      if (node.order.empty()) first = std::move(scores);
    }
    next = best_of(std::move(next), width);
    if (may_stop && !beam[0].order.empty() && !(next[0].nll.back() < best_so_far)) break;
    beam = std::move(next);
  }
  Node& best = beam[0];
  return SearchOutcome{.mask = std::move(best.mask),
                       .scores = std::move(first),
                       .order = std::move(best.order),
                       .nll = std::move(best.nll)};
}

}  // namespace strata
