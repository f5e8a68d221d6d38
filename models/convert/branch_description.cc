#include "models/convert/branch_description.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "core/config/binder.h"
#include "core/sha256.h"
#include "models/checkpoint/json_fields.h"

namespace strata {
namespace {

constexpr const char* kFormat = "strata-branches-1";

// The scalars of a flat object; what is no scalar becomes null, which bind() refuses.
config::Value value_of(const nlohmann::json& object) {
  config::Map map;
  for (const auto& [key, item] : object.items()) {
    config::Value value;
    if (item.is_boolean()) value = config::Value(item.get<bool>());
    if (item.is_string()) value = config::Value(item.get<std::string>());
    if (item.is_number_float()) value = config::Value(item.get<double>());
    if (item.is_number_unsigned() && item.get<std::uint64_t>() > INT64_MAX)
      value = config::Value(item.dump());
    else if (item.is_number_integer())
      value = config::Value(item.get<std::int64_t>());
    map.set(key, std::move(value));
  }
  return config::Value(std::move(map));
}

}  // namespace

std::string to_text(const BranchDescription& description, const std::string& parent_id,
                    DType dtype) {
  const nlohmann::json config = config::to_json(description.config);
  const nlohmann::json json = {{"format", kFormat},         {"parent", parent_id},
                               {"dtype", to_string(dtype)}, {"layers", description.layers},
                               {"config", config},          {"content", description.content}};
  return json.dump(2) + "\n";
}

Result<BranchDescription> parse_branch_description(const std::string& text,
                                                   const BranchParent& parent) {
  ASSIGN_OR_RETURN(const nlohmann::json json, json_fields::parse_object(text));
  const json_fields::Fields fields(json);
  const auto expect = [&](const char* name, std::string_view expected) -> Status {
    ASSIGN_OR_RETURN(const std::string got, fields.string_or(name, ""));
    if (got != expected) return fields.error(name, expected);
    return {};
  };
  RETURN_IF_ERROR(expect("format", kFormat));
  ASSIGN_OR_RETURN(const std::string made_for, fields.string_or("parent", ""));
  if (made_for != parent.id)
    return fail(
        make_error(ErrorKind::kInvalidFile,
                   "field 'parent': expected branches of this model, {:.12}, got those of "
                   "model '{:.12}'",
                   parent.id, made_for)
            .with_hint("give the model that they were converted from, or convert this one"));
  RETURN_IF_ERROR(expect("dtype", to_string(parent.dtype)));
  BranchDescription out;
  ASSIGN_OR_RETURN(out.content, fields.string_or("content", ""));
  if (!fields.has("layers") || !fields.at("layers").is_array() || fields.at("layers").empty())
    return fields.error("layers", "a list of layers");
  for (const nlohmann::json& item : fields.at("layers")) {
    const std::int64_t least = out.layers.empty() ? 0 : out.layers.back() + 1;
    const bool fits = item.is_number_integer() && item >= least && item < parent.layers;
    if (!fits)
      return fail(ErrorKind::kInvalidFile,
                  "field 'layers': expected rising layers below {}, got {} behind {} others",
                  parent.layers, json_fields::describe(item), out.layers.size());
    out.layers.push_back(item.get<int>());
  }
  if (!fields.has("config") || !fields.at("config").is_object())
    return fields.error("config", "an object");
  const nlohmann::json& given = fields.at("config");
  RETURN_IF_ERROR(config::bind(value_of(given), out.config, {.path = "config", .also_known = {}}));
  const nlohmann::json all = config::to_json(out.config);
  for (const auto& [key, unused] : all.items())
    if (!given.contains(key))
      return fail(ErrorKind::kInvalidFile, "field 'config.{}': expected a value, got none", key);
  return out;
}

std::string branches_id(const std::string& parent_id, const BranchDescription& description) {
  const nlohmann::json config = config::to_json(description.config);
  const nlohmann::json covered = {{"format", "strata-model-with-branches-1"},
                                  {"parent", parent_id},
                                  {"config", config},
                                  {"content", description.content}};
  return sha256_hex(covered.dump());
}

}  // namespace strata
