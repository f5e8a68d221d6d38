// A node of the defaults tree: an entry seen from its parent, which gives it a folder and a
// package. Private to defaults_list.cc.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runner/config/defaults_entry.h"

namespace strata::config::internal {

struct DefaultsNode {
  DefaultsEntry entry;
  std::string parent_folder;          // group of the parent's file
  std::string parent_package;         // where the parent's content goes
  std::optional<std::string> header;  // "# @package", made absolute
  bool is_primary = false;
  bool is_deleted = false;
  std::vector<DefaultsNode> children;

  static DefaultsNode child(const DefaultsNode& parent, const DefaultsEntry& entry);

  bool has_name() const { return entry.option.if_string() != nullptr; }
  bool is_missing() const;          // the option is ???
  std::string group_path() const;   // "strategy"
  std::string config_path() const;  // "strategy/periodic"
  // Where the content goes: the entry's @package, or (with_header) the file's header, or the
  // group's own path.
  std::string final_package(bool with_header) const;
  // What an override must be called to reach this group: "db", or "db@src" where the package is not
  // the usual one.
  std::string override_key() const;
  void set_header(const std::optional<std::string>& package);
};

}  // namespace strata::config::internal
