#include "runner/config/defaults_node.h"

#include <algorithm>

namespace strata::config::internal {
namespace {

std::string dotted(std::string path) {
  std::replace(path.begin(), path.end(), '/', '.');
  return path;
}

// The folder part and the name of "a/b/name".
std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

// "/a" is absolute; everything else lies under the parent's folder.
std::string below(const std::string& folder, const std::string& path) {
  if (path.starts_with('/')) return path.substr(1);
  if (folder.empty()) return path;
  return path.empty() ? folder : folder + '/' + path;
}

// The folder as written in the entry, without a leading slash.
std::string relative_group(const DefaultsEntry& entry) {
  const std::string path = entry.group.empty() ? folder_of(*entry.option.if_string()) : entry.group;
  return path.starts_with('/') ? path.substr(1) : path;
}

}  // namespace

DefaultsNode DefaultsNode::child(const DefaultsNode& parent, const DefaultsEntry& entry) {
  DefaultsNode node;
  node.entry = entry;
  node.parent_folder = parent.group_path();
  node.parent_package = parent.final_package(true);
  if (entry.package && entry.package->find("_group_") != std::string::npos) {
    std::string package = *entry.package;
    for (std::size_t at = package.find("_group_"); at != std::string::npos;
         at = package.find("_group_")) {
      package.replace(at, std::string_view("_group_").size(), dotted(node.group_path()));
    }
    node.entry.package = "_global_." + package;
  }
  return node;
}

bool DefaultsNode::is_missing() const {
  const std::string* name = entry.option.if_string();
  return name != nullptr && (*name == kMandatory || name->ends_with("/???"));
}

std::string DefaultsNode::group_path() const {
  if (!entry.group.empty()) return below(parent_folder, entry.group);
  const std::string& path = *entry.option.if_string();
  if (path.starts_with('/')) return folder_of(path.substr(1));
  return below(parent_folder, folder_of(path));
}

std::string DefaultsNode::config_path() const {
  const std::string& name = *entry.option.if_string();
  return entry.group.empty() ? below(parent_folder, name) : group_path() + '/' + name;
}

std::string DefaultsNode::final_package(bool with_header) const {
  static constexpr std::string_view kGlobal = "_global_";
  std::optional<std::string> package = entry.package;
  if (!package && with_header) package = header;
  if (!package) package = dotted(relative_group(entry));
  std::string out = parent_package;
  if (!out.empty() && !package->empty()) out += '.';
  out += *package;
  const std::size_t global = out.rfind(kGlobal);
  if (global == std::string::npos) return out;
  return out.substr(std::min(out.size(), global + kGlobal.size() + 1));
}

std::string DefaultsNode::override_key() const {
  const std::string package = final_package(false);
  std::string key = group_path();
  if (package == dotted(key)) return key;
  return key + '@' + (package.empty() ? "_global_" : package);
}

void DefaultsNode::set_header(const std::optional<std::string>& package) {
  if (!package) return;
  const bool absolute = *package == "_global_" || package->starts_with("_global_.");
  header = absolute ? *package : package->empty() ? "_global_" : "_global_." + *package;
}

}  // namespace strata::config::internal
