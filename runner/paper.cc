#include "runner/paper.h"

#include <algorithm>

#include "core/config/binder.h"
#include "models/checkpoint/json_fields.h"
#include "runner/config/compose.h"
#include "runner/config/yaml_reader.h"

namespace strata {
namespace {

constexpr const char* kGroup = "paper";

Result<Paper> read_file(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(file, config::kMaxYamlBytes));
  ASSIGN_OR_RETURN(const config::Value value, config::read_yaml(text, file.string()));
  return parse_paper(value);
}

}  // namespace

Result<Paper> read_paper(const std::vector<std::filesystem::path>& config_dirs,
                         const std::string& name) {
  if (name.ends_with(".yaml")) return read_file(name);
  // A name of the list: no path leads out of the folders.
  const std::vector<std::string> names = config::group_options(config_dirs, kGroup);
  if (std::find(names.begin(), names.end(), name) != names.end())
    for (const std::filesystem::path& dir : config_dirs) {
      const std::filesystem::path file = dir / kGroup / (name + ".yaml");
      if (std::filesystem::exists(file)) return read_file(file);
    }
  return fail(make_error(ErrorKind::kNotFound, "there is no paper '{}'", name)
                  .with_hint(config::nearest_hint(name, names, "papers")));
}

Result<std::vector<NamedPaper>> all_papers(const std::vector<std::filesystem::path>& config_dirs) {
  std::vector<NamedPaper> papers;
  for (const std::string& name : config::group_options(config_dirs, kGroup)) {
    ASSIGN_OR_RETURN(Paper paper, read_paper(config_dirs, name));
    papers.push_back({name, std::move(paper)});
  }
  return papers;
}

}  // namespace strata
