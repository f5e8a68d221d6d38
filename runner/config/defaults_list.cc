#include "runner/config/defaults_list.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/config/binder.h"
#include "runner/config/defaults_node.h"

namespace strata::config {
namespace {

using internal::DefaultsNode;

// A choice of a group's option made elsewhere: on the command line, or by `override` in a defaults
// list.
struct Choice {
  Value option;
  SourcePos pos;
  bool used = false;
  bool from_command_line = false;
};

struct Deletion {
  Value option;  // null = whatever is chosen
  SourcePos pos;
  bool used = false;
};

class Builder {
 public:
  explicit Builder(Repository& repository) : repository_(repository) {}

  Result<DefaultsList> build(const std::string& config_name,
                             const std::vector<Override>& overrides) {
    for (const Override& override : overrides) RETURN_IF_ERROR(sort_override(override));
    DefaultsNode root;
    root.entry.option = Value(config_name);
    root.is_primary = true;
    RETURN_IF_ERROR(expand(root, 0));
    RETURN_IF_ERROR(check_used());
    RETURN_IF_ERROR(collect(root, nullptr));
    draw(root, 0);
    return std::move(out_);
  }

 private:
  // Value overrides are kept for later; group overrides become choices, deletions or appended
  // entries.
  Status sort_override(const Override& override) {
    const Value* value = override.element();
    if (!repository_.is_group(override.key) || (value != nullptr && value->if_map() != nullptr)) {
      out_.overrides.push_back(&override);
      return {};
    }
    const auto refuse = [&](const SourcePos& pos, std::string message) {
      return fail(Error{ErrorKind::kInvalidArgument, std::move(message), {pos.text()}, {}});
    };
    const std::string key =
        override.package ? override.key + '@' + *override.package : override.key;
    const bool is_name = value != nullptr && value->if_string() != nullptr;
    if (override.kind == OverrideKind::kForceAdd) {
      return refuse(
          override.key_pos,
          fmt::format("'++' does not work on groups: '{}' is one; use '+' or neither", key));
    }
    if (override.kind == OverrideKind::kDelete) {
      if (value != nullptr && !is_name)
        return refuse(value->pos, "expected an option's name, got " + value->describe());
      deletions_[key] = {value == nullptr ? Value() : *value, override.key_pos};
      return {};
    }
    const List* names = value == nullptr ? nullptr : value->if_list();
    const bool is_names =
        names != nullptr && std::all_of(names->begin(), names->end(), [](const Value& name) {
          return name.if_string() != nullptr;
        });
    if (!is_name && !is_names) {
      Error error{ErrorKind::kInvalidArgument,
                  fmt::format("'{}' is a group: expected the name of an option, got {}", key,
                              value->describe()),
                  {value->pos.text()},
                  nearest_hint("", repository_.options(override.key), "options")};
      return fail(std::move(error));
    }
    if (override.kind == OverrideKind::kAdd) {
      DefaultsEntry entry;
      entry.group = override.key;
      entry.option = *value;
      entry.package = override.package;
      if (entry.package == "_here_") entry.package = "";
      entry.pos = override.key_pos;
      appended_.push_back(std::move(entry));
    } else {
      choices_[key] = {*value, override.key_pos, false, true};
    }
    return {};
  }

  Status expand(DefaultsNode& node, std::size_t depth) {
    if (depth > kMaxDefaultsDepth || ++nodes_ > kMaxDefaultsNodes) {
      return fail(
          make_error(ErrorKind::kInvalidFile, "the defaults lists go in a circle, or are too many")
              .at(node.entry.pos.text()));
    }
    const ConfigFile* file = nullptr;
    if (node.has_name() && !node.is_missing()) {
      ASSIGN_OR_RETURN(file, repository_.load(node.config_path()));
    }
    if (file != nullptr) node.set_header(file->package);
    if (delete_if_asked(node)) return {};
    RETURN_IF_ERROR(remember_choice(node));
    if (!node.has_name()) return {};
    if (node.is_missing()) return fail(must_choose(node));
    if (file == nullptr) {
      if (!node.entry.is_optional) return fail(not_found(node));
      node.is_deleted = true;
      return {};
    }
    return expand_children(node, *file, depth);
  }

  Status expand_children(DefaultsNode& node, const ConfigFile& file, std::size_t depth) {
    std::vector<DefaultsEntry> entries = file.defaults;
    const auto has = [&](auto test) { return std::any_of(entries.begin(), entries.end(), test); };
    const bool has_self = has([](const DefaultsEntry& entry) { return entry.is_self(); });
    const bool has_plain = has([](const DefaultsEntry& entry) { return !entry.is_override; });
    const bool appends = node.is_primary && !appended_.empty();
    if (entries.empty() && !appends) return {};
    if (!has_self && (has_plain || entries.empty())) {
      DefaultsEntry self;
      self.option = Value("_self_");
      entries.push_back(std::move(self));
    }
    RETURN_IF_ERROR(take_overrides(node, entries));
    if (appends) entries.insert(entries.end(), appended_.begin(), appended_.end());
    // Backwards, so that an `override` in a later entry's own file reaches the entries before it.
    std::reverse(entries.begin(), entries.end());
    for (const DefaultsEntry& entry : entries) {
      if (entry.is_override) continue;
      for (DefaultsNode& child : children_of(node, entry)) {
        if (!child.entry.is_self()) RETURN_IF_ERROR(expand(child, depth + 1));
        node.children.push_back(std::move(child));
      }
    }
    std::reverse(node.children.begin(), node.children.end());
    return {};
  }

  Status take_overrides(const DefaultsNode& node, const std::vector<DefaultsEntry>& entries) {
    const DefaultsEntry* seen = nullptr;
    for (const DefaultsEntry& entry : entries) {
      if (entry.is_override) {
        seen = &entry;
        const std::string key = DefaultsNode::child(node, entry).override_key();
        choices_.try_emplace(key, Choice{entry.option, entry.pos, false, false});
      } else if (seen != nullptr && !entry.is_self()) {
        return fail(make_error(ErrorKind::kInvalidFile,
                               "'override {}' must stand after all other entries", seen->group)
                        .at(seen->pos.text()));
      }
    }
    return {};
  }

  // Usually one; an entry with a list of options makes a node for each, last first.
  std::vector<DefaultsNode> children_of(const DefaultsNode& node, const DefaultsEntry& entry) {
    DefaultsNode child = DefaultsNode::child(node, entry);
    if (entry.group.empty()) return {std::move(child)};
    if (const auto choice = choices_.find(child.override_key()); choice != choices_.end()) {
      child.entry.option = choice->second.option;
      child.entry.pos = choice->second.pos;
      choice->second.used = true;
    }
    if (child.entry.option.if_list() == nullptr) return {std::move(child)};
    List options = *child.entry.option.if_list();
    std::reverse(options.begin(), options.end());
    std::vector<DefaultsNode> out;
    for (const Value& option : options) {
      DefaultsEntry one = child.entry;
      one.option = Value(one.group + '/' + *option.if_string());
      one.option.pos = option.pos;
      one.group.clear();
      out.push_back(DefaultsNode::child(node, one));
    }
    return out;
  }

  bool delete_if_asked(DefaultsNode& node) {
    if (node.entry.group.empty()) return false;
    const auto deletion = deletions_.find(node.override_key());
    if (deletion == deletions_.end()) return false;
    const Value& option = deletion->second.option;
    if (!option.is_null() && option != node.entry.option) return false;
    deletion->second.used = true;
    node.is_deleted = true;
    return true;
  }

  Status remember_choice(const DefaultsNode& node) {
    if (node.entry.group.empty()) return {};
    const std::string key = node.override_key();
    const auto [known, is_new] = chosen_.try_emplace(key, node.entry.option);
    keys_of_group_[node.group_path()].insert(key);
    if (is_new || known->second == node.entry.option) return {};
    return fail(
        make_error(ErrorKind::kInvalidFile,
                   "the group '{}' already has the option '{}', got '{}' too", key,
                   known->second.to_text(), node.entry.option.to_text())
            .at(node.entry.pos.text())
            .with_hint(fmt::format("to choose another option write 'override {}: …'", key)));
  }

  Error must_choose(const DefaultsNode& node) const {
    const std::string key = node.override_key();
    return make_error(ErrorKind::kInvalidArgument,
                      "the group '{}' has no default: choose an option with {}=…", key, key)
        .at(node.entry.pos.text())
        .with_hint(
            fmt::format("options: {}", fmt::join(repository_.options(node.group_path()), ", ")));
  }

  Error not_found(const DefaultsNode& node) const {
    Error error =
        make_error(ErrorKind::kNotFound, "there is no config '{}.yaml'", node.config_path());
    if (!node.entry.group.empty()) {
      const std::string option = node.entry.option.to_text();
      error = make_error(ErrorKind::kNotFound, "the group '{}' has no option '{}'",
                         node.group_path(), option);
      const std::vector<std::string> options = repository_.options(node.group_path());
      error.hint = fmt::format("options: {}", fmt::join(options, ", "));
      if (const auto best = nearest(option, options))
        error.hint = fmt::format("did you mean '{}'? {}", *best, error.hint);
    } else {
      error.hint = "looked in " + repository_.search_path_text();
    }
    const SourcePos& pos =
        node.entry.option.pos.file.empty() ? node.entry.pos : node.entry.option.pos;
    if (!pos.file.empty()) error.where.push_back(pos.text());
    return error;
  }

  std::vector<std::string> chosen_keys() const {
    std::vector<std::string> keys;
    for (const auto& [key, option] : chosen_) keys.push_back(key);
    return keys;
  }

  Status check_used() const {
    for (const auto& [key, choice] : choices_) {
      if (choice.used) continue;
      Error error = make_error(ErrorKind::kInvalidArgument,
                               "'{}' is in no defaults list, so it cannot be overridden", key)
                        .at(choice.pos.text());
      const auto keys = keys_of_group_.find(key.substr(0, key.find('@')));
      if (keys != keys_of_group_.end()) {
        error.hint = fmt::format("did you mean {}?", fmt::join(keys->second, " or "));
      } else if (const auto best = nearest(key, chosen_keys())) {
        error.hint = fmt::format("did you mean '{}'?", *best);
      } else if (choice.from_command_line) {
        error.hint = fmt::format("to add it, write +{}={}", key, override_text(choice.option));
      }
      return fail(std::move(error));
    }
    for (const auto& [key, deletion] : deletions_) {
      if (deletion.used) continue;
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "'{}' is in no defaults list, so it cannot be deleted", key)
                      .at(deletion.pos.text()));
    }
    return {};
  }

  // The leaves, from first to last: a file with children stands where its `_self_` is.
  Status collect(const DefaultsNode& node, const DefaultsNode* parent) {
    if (node.is_deleted || !node.has_name()) return {};
    if (!node.children.empty()) {
      for (const DefaultsNode& child : node.children) RETURN_IF_ERROR(collect(child, &node));
      return {};
    }
    const bool self = node.entry.is_self();
    const DefaultsNode& file = self ? *parent : node;
    if (!self && !node.entry.group.empty() && !listed_.insert(node.override_key()).second) {
      return fail(make_error(ErrorKind::kInvalidFile, "'{}' is in the defaults list twice",
                             node.override_key())
                      .at(node.entry.pos.text()));
    }
    out_.files.push_back({file.config_path(), file.final_package(true)});
    return {};
  }

  void draw(const DefaultsNode& node, std::size_t depth) {
    std::string label = node.entry.group.empty() ? "" : node.override_key() + ": ";
    label += node.entry.is_self() || !node.entry.group.empty() ? node.entry.option.to_text()
                                                               : node.config_path();
    if (node.is_deleted) label += node.entry.is_optional ? " (absent)" : " (deleted)";
    out_.tree += std::string(2 * depth, ' ') + label + '\n';
    for (const DefaultsNode& child : node.children) draw(child, depth + 1);
  }

  Repository& repository_;
  std::map<std::string, Choice> choices_;      // by override key
  std::map<std::string, Deletion> deletions_;  // by override key
  std::vector<DefaultsEntry> appended_;
  std::map<std::string, Value> chosen_;
  std::map<std::string, std::set<std::string>> keys_of_group_;
  std::set<std::string> listed_;
  std::size_t nodes_ = 0;
  DefaultsList out_;
};

}  // namespace

Result<DefaultsList> build_defaults_list(Repository& repository, const std::string& config_name,
                                         const std::vector<Override>& overrides) {
  return Builder(repository).build(config_name, overrides);
}

}  // namespace strata::config
