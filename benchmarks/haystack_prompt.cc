#include "benchmarks/haystack_prompt.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

namespace strata {
namespace {

constexpr int kMaxRounds = 24;

std::int64_t ssize_of(const auto& values) { return static_cast<std::int64_t>(values.size()); }

std::array<std::int64_t, 2> tokens_between(const EncodedPrompt& encoded, std::size_t begin,
                                           std::size_t end) {
  const std::int64_t first = encoded.token_at(begin);
  return {first, end > begin ? encoded.token_at(end - 1) + 1 : first};
}

}  // namespace

std::array<std::int64_t, 2> FittedPrompt::context_tokens() const {
  return tokens_between(encoded, context_begin, context_end);
}

std::array<std::int64_t, 2> FittedPrompt::tokens_of(const Inserted& sentence) const {
  return tokens_between(encoded, context_begin + sentence.byte_begin,
                        context_begin + sentence.byte_end);
}

std::int64_t FittedPrompt::distance(const Inserted& sentence) const {
  return ssize_of(encoded.prompt) - 1 - tokens_of(sentence)[1];
}

void HaystackPrompt::insert(std::string sentence) {
  const auto tokens = ssize_of(request_.tokenizer.encode_plain(haystack_.separator + sentence));
  inserted_.push_back({std::move(sentence), 0, tokens, 0, 0});
}

std::int64_t HaystackPrompt::inserted_tokens() const {
  std::int64_t tokens = 0;
  for (const Inserted& sentence : inserted_) tokens += sentence.token_count;
  return tokens;
}

void HaystackPrompt::fill_units(std::int64_t budget) {
  std::int64_t total = units_.empty() ? 0 : before_.back() + ssize_of(units_.back().tokens);
  while (total < budget) {
    Unit unit{text_.next_unit(), {}};
    unit.tokens = request_.tokenizer.encode_plain(haystack_.separator + unit.text);
    before_.push_back(total);
    total += ssize_of(unit.tokens);
    units_.push_back(std::move(unit));
  }
}

std::size_t HaystackPrompt::places(std::int64_t budget) {
  fill_units(budget);
  std::size_t places = 0;
  while (places < units_.size() && before_[places] < budget) ++places;
  return places + 1;
}

std::int64_t HaystackPrompt::tokens_before(std::size_t place, std::int64_t budget) const {
  return place < before_.size() ? std::min(before_[place], budget) : budget;
}

std::size_t HaystackPrompt::place_at(double depth, std::int64_t budget) {
  const std::size_t all = places(budget);
  std::size_t place = 0;
  while (place + 1 < all && static_cast<double>(tokens_before(place + 1, budget)) <=
                                depth * static_cast<double>(budget))
    ++place;
  return place;
}

// The units and sentences in order, the last unit cut so that the units have `budget` tokens
// together.
std::string HaystackPrompt::compose(std::int64_t budget) {
  fill_units(budget);
  const std::string& separator = haystack_.separator;
  std::string context;
  const auto add = [&](std::string_view text) {
    if (!context.empty()) context += separator;
    context += text;
  };
  const auto add_inserted = [&](std::size_t from, std::size_t to) {
    for (std::size_t unit = from; unit < to; ++unit)
      for (Inserted& sentence : inserted_) {
        if (sentence.before != unit) continue;
        add(sentence.text);
        sentence.byte_end = context.size();
        sentence.byte_begin = context.size() - sentence.text.size();
      }
  };
  std::size_t i = 0;
  for (; i < units_.size() && before_[i] < budget; ++i) {
    add_inserted(i, i + 1);
    const Tokens& tokens = units_[i].tokens;
    const std::int64_t room = budget - before_[i];
    if (room >= ssize_of(tokens)) {
      add(units_[i].text);
      continue;
    }
    const std::string head =
        request_.tokenizer.decode(std::span(tokens).first(static_cast<std::size_t>(room)));
    std::size_t bytes =
        std::min(head.size() - std::min(head.size(), separator.size()), units_[i].text.size());
    while (bytes > 0 && bytes < units_[i].text.size() && (units_[i].text[bytes] & '\xC0') == '\x80')
      --bytes;
    if (bytes > 0) add(std::string_view(units_[i].text).substr(0, bytes));
  }
  // Sentences behind every unit, also where the haystack shrank since they were placed.
  std::size_t last = i;
  for (const Inserted& sentence : inserted_) last = std::max(last, sentence.before);
  add_inserted(i, last + 1);
  return context;
}

Result<FittedPrompt> HaystackPrompt::empty() { return attempt(""); }

Result<FittedPrompt> HaystackPrompt::attempt(const std::string& context) {
  std::vector<ChatMessage> messages;
  if (!frame_.system.empty()) messages.push_back({"system", frame_.system});
  messages.push_back({"user", frame_.head + context + frame_.tail});
  ASSIGN_OR_RETURN(EncodedPrompt encoded, encode_prompt(request_.tokenizer, request_.chat, messages,
                                                        frame_.answer_prefix, frame_.answer));
  FittedPrompt out{std::move(encoded), inserted_, {}, 0, 0, 0};
  const auto content = out.encoded.text.find(messages.back().content);
  if (out.encoded.offsets.empty() || content == std::string::npos) {
    return fail(
        make_error(
            ErrorKind::kUnsupported,
            "expected a tokenizer and chat template that keep the text as it is; positions in it "
            "are unknown otherwise")
            .with_hint(
                "use a haystack of plain ASCII (bundled, noise or needle), or chat_template=none"));
  }
  out.context_begin = content + frame_.head.size();
  out.context_end = out.context_begin + context.size();
  out.answer_given = move_blank_tokens(request_.tokenizer, out.encoded);
  const std::int64_t answer = ssize_of(out.encoded.answer);
  out.limit = frame_.generation_limit > 0 ? frame_.generation_limit : answer + kGenerationSlack;
  if (out.limit < answer) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at least {} (the answer's tokens), got {}", answer, out.limit)
                    .at("benchmark.generation_limit"));
  }
  return out;
}

Result<std::int64_t> HaystackPrompt::room(const FittedPrompt& empty) const {
  const std::int64_t taken = empty.length() + inserted_tokens();
  if (taken < frame_.length) return frame_.length - taken;
  return fail(make_error(ErrorKind::kInvalidArgument,
                         "expected room for a haystack, but template, needles and generation "
                         "take {} of {} tokens",
                         taken, frame_.length)
                  .at("benchmark.length"));
}

// Composes, tokenises the whole, and corrects the cut by what is missing: merges across borders
// make the sum of the parts differ from the whole by a token or two.
Result<FittedPrompt> HaystackPrompt::fit(std::int64_t budget) {
  std::optional<FittedPrompt> best;
  std::set<std::int64_t> tried;
  for (int round = 0; round < kMaxRounds; ++round) {
    tried.insert(budget);
    ASSIGN_OR_RETURN(FittedPrompt now, attempt(compose(budget)));
    const std::int64_t missing = frame_.length - now.length();
    if (missing >= 0 && (!best || now.length() > best->length())) best = std::move(now);
    if (missing == 0) break;
    budget += missing;
    while (tried.contains(budget)) --budget;
    if (budget < 0) break;
  }
  if (best && frame_.length - best->length() < kMaxShortfall) return *std::move(best);
  return fail(make_error(ErrorKind::kInvalidArgument,
                         "no haystack makes a prompt of {} tokens with this tokenizer",
                         frame_.length)
                  .at("benchmark.length"));
}

Result<nlohmann::json> HaystackPrompt::counterfactual(const FittedPrompt& fitted,
                                                      const std::vector<std::string>& sentences,
                                                      std::string answer) const {
  STRATA_CHECK(sentences.size() == fitted.inserted.size());
  std::vector<std::size_t> order(sentences.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return fitted.inserted[a].byte_begin < fitted.inserted[b].byte_begin;
  });
  const std::string_view text =
      std::string_view(fitted.encoded.text)
          .substr(fitted.context_begin, fitted.context_end - fitted.context_begin);
  std::string context;
  std::size_t at = 0;
  for (const std::size_t i : order) {
    context += text.substr(at, fitted.inserted[i].byte_begin - at);
    context += sentences[i];
    at = fitted.inserted[i].byte_end;
  }
  context += text.substr(at);
  PromptFrame frame = frame_;
  frame.answer = std::move(answer);
  ASSIGN_OR_RETURN(const FittedPrompt other,
                   HaystackPrompt(request_, haystack_, {}, std::move(frame)).attempt(context));
  const Tokens &clean = fitted.encoded.prompt, &changed = other.encoded.prompt;
  if (changed.size() != clean.size() || other.encoded.answer.size() != fitted.encoded.answer.size())
    return nlohmann::json();
  nlohmann::json tokens = nlohmann::json::array();
  for (std::size_t i = 0; i < clean.size(); ++i)
    if (changed[i] != clean[i]) tokens.push_back({i, changed[i]});
  return nlohmann::json{{"tokens", std::move(tokens)}, {"answer", other.encoded.answer}};
}

nlohmann::json HaystackPrompt::metadata(const FittedPrompt& fitted,
                                        std::string_view haystack_name) const {
  nlohmann::json needles = nlohmann::json::array();
  for (const Inserted& sentence : fitted.inserted) needles.push_back(fitted.tokens_of(sentence));
  return {{"haystack", haystack_name},
          {"split", to_string(request_.split)},
          {"source", text_.source},
          {"fixed_wording", haystack_.fixed_wording},
          {"haystack_tokens", fitted.context_tokens()},
          {"needles", std::move(needles)},
          {"first_informative_query", ssize_of(fitted.encoded.prompt) - 1},
          {"first_answer_token", fitted.encoded.answer.front()},
          {"length", frame_.length},
          {"shortfall", frame_.length - fitted.length()},
          {"generation_limit", fitted.limit},
          {"joint_tokenisation", fitted.encoded.joint}};
}

Sample HaystackPrompt::finish(FittedPrompt&& fitted, nlohmann::json metadata,
                              std::vector<std::string> answers, std::string_view benchmark) const {
  Sample sample;
  sample.metadata = std::move(metadata);
  sample.prompt_text = fitted.encoded.text;
  sample.prompt = std::move(fitted.encoded.prompt);
  sample.answer = std::move(fitted.encoded.answer);
  sample.answers = std::move(answers);
  sample.answer_given = std::move(fitted.answer_given);
  set_content_id(sample, benchmark);
  sample.cluster = text_.cluster.empty() ? sample.id : text_.cluster;
  return sample;
}

}  // namespace strata
