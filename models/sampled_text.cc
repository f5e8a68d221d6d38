#include "models/sampled_text.h"

#include <utility>

namespace strata {

Result<std::vector<Tokens>> sample_texts(MeteredModel& model, const SampledText& how,
                                         std::int64_t first, std::int64_t count) {
  const std::int64_t written = how.length - std::ssize(how.start);
  STRATA_CHECK(!how.start.empty() && written >= 1 && count >= 1 && how.temperature > 0);
  const AttentionPlan plan = model.model().native_plan();
  const std::vector<Request> requests(
      static_cast<std::size_t>(count),
      Request{.prompt = how.start, .plan = &plan, .max_new_tokens = written});
  ASSIGN_OR_RETURN(Session session, model.prefill(requests));
  ASSIGN_OR_RETURN(std::vector<Tokens> texts,
                   session.generate({.max_new_tokens = written,
                                     .stop = {},
                                     .sampling = Sampling{.temperature = how.temperature,
                                                          .seed = how.seed,
                                                          .first_stream = first}}));
  for (Tokens& text : texts) text.insert(text.begin(), how.start.begin(), how.start.end());
  return texts;
}

}  // namespace strata
