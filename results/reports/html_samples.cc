#include "results/reports/html_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/html_page.h"
#include "results/reports/judged_responses.h"

namespace strata {
namespace {

constexpr char kRight = '1', kWrong = '0', kUnknown = '-';

bool is_head(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

// The first `begin` and last `end` code points, with what was cut between them counted.
std::string excerpt(std::string_view text, std::size_t begin, std::size_t end) {
  const auto heads = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), is_head));
  if (heads <= begin + end) return std::string(text);
  std::size_t front = 0, back = text.size();
  for (std::size_t n = 0; front < text.size(); ++front)
    if (is_head(text[front]) && n++ == begin) break;
  for (std::size_t n = 0; back > 0 && n < end;)
    if (is_head(text[--back])) ++n;
  return fmt::format("{}{}… {} characters left out …{}{}", text.substr(0, front),
                     begin > 0 ? "\n" : "", heads - begin - end, end > 0 ? "\n" : "",
                     text.substr(back));
}

// Runs that answered the same questions.
struct Group {
  std::vector<const Evaluation*> plans;
  std::size_t more = 0;                // plans beyond the limit
  std::vector<std::size_t> disagreed;  // positions in the data set
  std::vector<std::size_t> shown;      // of them
};

// Whether each answer is right; empty where nothing was generated.
const std::vector<double>& verdicts_of(const Evaluation& evaluation) {
  return evaluation.gen_contains.empty() ? evaluation.string_match : evaluation.gen_contains;
}

char verdict(const Evaluation& evaluation, std::size_t position) {
  const std::vector<double>& values = verdicts_of(evaluation);
  if (position >= values.size()) return kUnknown;
  return values[position] >= 1 ? kRight : kWrong;
}

std::string verdicts(const Group& group, std::size_t position) {
  std::string out;
  for (const Evaluation* plan : group.plans) out += verdict(*plan, position);
  return out;
}

std::vector<Group> groups_of(const LeaderboardData& data, const SampleLimits& limits) {
  using Key = std::tuple<std::string, std::string, std::string>;
  std::map<Key, std::vector<const Evaluation*>> found;
  std::vector<Key> order;
  std::set<std::string> experiments;
  for (const Evaluation& evaluation : data.evaluations) {
    if (!evaluation.shown || verdicts_of(evaluation).empty()) continue;
    if (!experiments.insert(evaluation.experiment.id).second) continue;
    const Key key{evaluation.experiment.model_id, evaluation.experiment.data_id,
                  evaluation.experiment.generation_json};
    if (!found.contains(key)) order.push_back(key);
    found[key].push_back(&evaluation);
  }
  std::vector<Group> out;
  for (const Key& key : order) {
    Group group{.plans = std::move(found[key])};
    // References first, draws last: they are what the limit leaves out.
    const auto place = [](const Evaluation* plan) {
      const std::string& name = plan->run.group;
      return name == "full" ? 0 : name == "none" ? 1 : is_control(*plan) || is_drawn(*plan) ? 3 : 2;
    };
    std::stable_sort(group.plans.begin(), group.plans.end(),
                     [&](const auto* a, const auto* b) { return place(a) < place(b); });
    if (group.plans.size() > limits.plans) {
      group.more = group.plans.size() - limits.plans;
      group.plans.resize(limits.plans);
    }
    const std::size_t samples = data.data.at(std::get<1>(key)).samples.size();
    for (std::size_t i = 0; i < samples; ++i) {
      const std::string all = verdicts(group, i);
      if (all.find(kRight) != std::string::npos && all.find(kWrong) != std::string::npos)
        group.disagreed.push_back(i);
    }
    if (!group.disagreed.empty()) out.push_back(std::move(group));
  }
  const std::size_t share = out.empty() ? 0 : std::max<std::size_t>(1, limits.samples / out.size());
  for (Group& group : out) {
    const std::size_t n = std::min(share, group.disagreed.size());
    for (std::size_t i = 0; i < n; ++i)
      group.shown.push_back(group.disagreed[i * group.disagreed.size() / n]);
  }
  if (out.size() > limits.samples) out.resize(limits.samples);
  return out;
}

// What a plan generated for the chosen samples, by sample.
Result<std::map<std::string, std::string>> texts_of(const Store& store, const Evaluation& plan,
                                                    const std::set<std::string>& wanted) {
  std::map<std::string, std::set<std::string>> executions;  // of each wanted sample
  for (const auto& [execution, samples] : plan.executions)
    for (const std::string& sample : samples)
      if (wanted.contains(sample)) executions[sample].insert(execution);
  ASSIGN_OR_RETURN(std::vector<ResponseRow> responses, store.responses_of(plan.experiment.id));
  std::map<std::string, std::string> out;
  for (ResponseRow& response : responses) {
    const auto found = executions.find(response.sample_id);
    if (found != executions.end() && found->second.contains(response.execution_id))
      out[response.sample_id] = std::move(response.text);
  }
  return out;
}

// "judge gpt-4o: yes", with what tells it from others of that model.
std::string said(const JudgeIdentity& judge, const JudgementRow& row, bool alone) {
  const std::optional<int> score =
      judge.rubrics == kNeedleRubrics ? needle_score(row) : std::nullopt;
  return fmt::format(" · judge {}: {}", alone ? judge.model : judge.text(),
                     score ? fmt::format("{} of 10", *score) : std::string(to_string(row.verdict)));
}

// What judges said of the same responses, by sample.
Result<std::map<std::string, std::string>> judged(const Store& store, const Evaluation& plan,
                                                  const std::set<std::string>& wanted) {
  ASSIGN_OR_RETURN(const std::vector<JudgementRow> rows, store.judgements_of(plan.experiment.id));
  const auto judges = judged_responses(rows, plan.executions);
  std::map<std::string, int> of_model;
  for (const auto& [judge, judged] : judges) ++of_model[judge.model];
  std::map<std::string, std::string> out;
  for (const auto& [judge, judged] : judges)
    for (const auto& [sample, row] : judged)
      if (wanted.contains(sample)) out[sample] += said(judge, row, of_model[judge.model] == 1);
  return out;
}

std::string plan_name(const Evaluation& plan) {
  std::string out = plan.name();
  if (plan.run.budget_units) out += fmt::format(" · {} units", *plan.run.budget_units);
  return out;
}

std::string choice(const Group& group, const char* label) {
  std::string out = fmt::format("<label>{} <select><option value=\"\">any plan</option>", label);
  for (std::size_t i = 0; i < group.plans.size(); ++i)
    out +=
        fmt::format("<option value=\"{}\">{}</option>", i, html_text(plan_name(*group.plans[i])));
  return out + "</select></label> ";
}

std::string verdict_html(char verdict) {
  if (verdict == kUnknown) return "<span>–</span>";
  return verdict == kRight ? "<span class=\"right\">✓ right</span>"
                           : "<span class=\"wrong\">✗ wrong</span>";
}

Result<std::string> group_html(const Store& store, const LeaderboardData& data, const Group& group,
                               const SampleLimits& limits) {
  const Evaluation& first = *group.plans[0];
  const DataFacts& facts = data.data.at(first.experiment.data_id);
  std::set<std::string> wanted;
  for (const std::size_t position : group.shown) wanted.insert(facts.samples[position].id);
  std::vector<std::map<std::string, std::string>> texts, judgements;
  for (const Evaluation* plan : group.plans) {
    ASSIGN_OR_RETURN(texts.emplace_back(), texts_of(store, *plan, wanted));
    ASSIGN_OR_RETURN(judgements.emplace_back(), judged(store, *plan, wanted));
  }
  const auto model = data.models.find(first.experiment.model_id);
  std::string out = fmt::format(
      "<section class=\"samples\">\n<h3>{}{} · {}</h3>\n",
      model == data.models.end() ? "" : html_text(model->second.name) + " · ",
      html_text(first.run.benchmark), html_text(config_text(first.run.benchmark_config_json)));
  std::string facts_line =
      fmt::format("{} of {} samples on which plans disagree, of {} in all.", group.shown.size(),
                  group.disagreed.size(), facts.samples.size());
  if (group.more > 0)
    facts_line += fmt::format(" Not shown: {}.",
                              plural(static_cast<std::int64_t>(group.more), "further plan"));
  out += html_lines({facts_line}, "facts");
  out += fmt::format("<div class=\"choices\">{}{}<output role=\"status\">{} shown</output></div>\n",
                     choice(group, "differ:"), choice(group, "from"), group.shown.size());
  for (const std::size_t position : group.shown) {
    const SampleRow& sample = facts.samples[position];
    const std::string all = verdicts(group, position);
    out += fmt::format(
        "<article class=\"sample\" data-verdicts=\"{}\">\n<h4>sample {} · {} tokens · {} of {} "
        "plans right</h4>\n<details><summary>prompt</summary><pre "
        "tabindex=\"0\">{}</pre></details>\n"
        "<p>expected: <bdi>{}</bdi></p>\n<dl class=\"answers\">\n",
        all, position + 1, sample.prompt_tokens, std::count(all.begin(), all.end(), kRight),
        all.size(), html_text(excerpt(sample.prompt_text, limits.prompt_begin, limits.prompt_end)),
        html_text(excerpt(joined(sample.answers, " | "), limits.text, 0)));
    for (std::size_t i = 0; i < group.plans.size(); ++i) {
      const auto text = texts[i].find(sample.id);
      out += fmt::format(
          "<div><dt>{}</dt><dd>{}</dd><dd dir=\"auto\">{}</dd></div>\n",
          html_text(plan_name(*group.plans[i])),
          verdict_html(all[i]) + html_text(judgements[i][sample.id]),
          text == texts[i].end() ? "–" : html_text(excerpt(text->second, limits.text, 0)));
    }
    out += "</dl>\n</article>\n";
  }
  return out + "</section>\n";
}

}  // namespace

Result<std::string> sample_browser(const Store& store, const LeaderboardData& data,
                                   const SampleLimits& limits) {
  std::string out;
  for (const Group& group : groups_of(data, limits)) {
    ASSIGN_OR_RETURN(const std::string html, group_html(store, data, group, limits));
    out += html;
  }
  return out;
}

}  // namespace strata
