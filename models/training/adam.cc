#include "models/training/adam.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace strata {

void Adam::step(std::span<double> values, std::span<const double> gradient, double rate) {
  STRATA_CHECK(values.size() == mean_.size() && gradient.size() == mean_.size());
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  for (std::size_t i = 0; i < values.size(); ++i) {
    mean_[i] = options_.beta1 * mean_[i] + (1 - options_.beta1) * gradient[i];
    square_[i] = options_.beta2 * square_[i] + (1 - options_.beta2) * gradient[i] * gradient[i];
    const double scale = std::sqrt(square_[i] / correction2) + options_.epsilon;
    values[i] -= rate * (mean_[i] / correction1 / scale + options_.weight_decay * values[i]);
  }
}

nlohmann::json Adam::state() const {
  return {{"mean", mean_}, {"square", square_}, {"steps", steps_}};
}

Status Adam::restore(const nlohmann::json& state) {
  ASSIGN_OR_RETURN(mean_, numbers_of(state, "mean", mean_.size()));
  ASSIGN_OR_RETURN(square_, numbers_of(state, "square", square_.size()));
  ASSIGN_OR_RETURN(steps_, count_of(state, "steps"));
  return {};
}

Result<std::int64_t> count_of(const nlohmann::json& state, const char* key) {
  const auto wrong = [&] { return fail(ErrorKind::kInvalidFile, "\"{}\": expected a count", key); };
  if (!state.is_object()) return wrong();
  const auto count = state.find(key);
  if (count == state.end() || !count->is_number_integer()) return wrong();
  // Beyond the largest, an unsigned one reads as negative.
  if (count->get<std::int64_t>() < 0) return wrong();
  return count->get<std::int64_t>();
}

Result<std::vector<double>> numbers_of(const nlohmann::json& state, const char* key,
                                       std::size_t size) {
  const auto wrong = [&] {
    return fail(ErrorKind::kInvalidFile, "\"{}\": expected a list of {} numbers", key, size);
  };
  if (!state.is_object()) return wrong();
  const auto list = state.find(key);
  if (list == state.end() || !list->is_array() || list->size() != size) return wrong();
  std::vector<double> numbers;
  for (const nlohmann::json& value : *list) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) return wrong();
    numbers.push_back(value.get<double>());
  }
  return numbers;
}

}  // namespace strata
