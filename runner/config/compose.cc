#include "runner/config/compose.h"

#include <fnmatch.h>

#include <algorithm>
#include <cstdlib>

#include "core/config/binder.h"
#include "runner/config/defaults_list.h"
#include "runner/config/interpolation.h"
#include "runner/config/merge.h"
#include "runner/config/override.h"
#include "runner/config/repository.h"

namespace strata::config {
namespace {

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Result<std::vector<Override>> parse_overrides(const std::vector<std::string>& lines) {
  std::vector<Override> out;
  for (const std::string& line : lines) {
    ASSIGN_OR_RETURN(Override override, parse_override(line));
    out.push_back(std::move(override));
  }
  return out;
}

Error needs_multirun(const Override& override) {
  return make_error(ErrorKind::kInvalidArgument, "this is a sweep, which needs --multirun")
      .at(override.key_pos.text())
      .with_hint("write [a,b] for a list; quote the value for a string with a comma");
}

Result<std::vector<Value>> sweep_values(const Repository& repository, const Override& override) {
  if (const auto* sweep = std::get_if<Sweep>(&override.value)) return sweep->values;
  const auto& glob = std::get<Glob>(override.value);
  if (!repository.is_group(override.key)) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "glob() chooses among the options of a group, which '{}' is not",
                           override.key)
                    .at(override.key_pos.text())
                    .with_hint(nearest_hint(override.key, repository.groups(), "groups")));
  }
  const std::vector<std::string> options = repository.options(override.key);
  std::vector<Value> out;
  for (const std::string& option : options) {
    const auto matches = [&](const std::string& pattern) {
      return fnmatch(pattern.c_str(), option.c_str(), FNM_NOESCAPE) == 0;
    };
    const bool chosen = std::any_of(glob.include.begin(), glob.include.end(), matches) &&
                        std::none_of(glob.exclude.begin(), glob.exclude.end(), matches);
    if (!chosen) continue;
    out.emplace_back(option);
    out.back().pos = override.key_pos;
  }
  if (out.empty()) {
    return fail(make_error(ErrorKind::kInvalidArgument, "the pattern matches no option of '{}'",
                           override.key)
                    .at(override.key_pos.text())
                    .with_hint(nearest_hint("", options, "options")));
  }
  return out;
}

// The jobs of a sweep: for each override its alternatives, the last varying fastest. Of two
// overrides of the same key the later one counts, at the place of the earlier.
class Jobs {
 public:
  static Result<Jobs> make(const Repository& repository, const std::vector<Override>& overrides) {
    Jobs jobs;
    for (const Override& override : overrides) {
      std::vector<Override> alternatives{override};
      if (override.is_sweep()) {
        alternatives.clear();
        ASSIGN_OR_RETURN(std::vector<Value> values, sweep_values(repository, override));
        for (Value& value : values) {
          Override one = override;
          one.line = fmt::format("{}={}", override.prefixed_key(), override_text(value));
          one.value = std::move(value);
          alternatives.push_back(std::move(one));
        }
      }
      const std::string key = override.prefixed_key();
      const auto same = std::find_if(jobs.axes_.begin(), jobs.axes_.end(), [&](const auto& axis) {
        return axis.front().prefixed_key() == key;
      });
      (same == jobs.axes_.end() ? jobs.axes_.emplace_back() : *same) = std::move(alternatives);
    }
    for (const auto& axis : jobs.axes_) {
      jobs.count_ *= axis.size();
      if (jobs.count_ > kMaxJobs) {
        return fail(ErrorKind::kInvalidArgument,
                    "expected a sweep of at most {} jobs, got {} or more", kMaxJobs, jobs.count_);
      }
    }
    return jobs;
  }

  std::size_t count() const { return count_; }

  std::vector<Override> job(std::size_t index) const {
    std::vector<Override> out(axes_.size());
    for (std::size_t axis = axes_.size(); axis-- > 0;) {
      out[axis] = axes_[axis][index % axes_[axis].size()];
      index /= axes_[axis].size();
    }
    return out;
  }

 private:
  std::vector<std::vector<Override>> axes_;
  std::size_t count_ = 1;
};

Result<Value> merge_files(Repository& repository, const DefaultsList& list) {
  Value config{Map()};
  for (const ComposedFile& part : list.files) {
    ASSIGN_OR_RETURN(const ConfigFile* file, repository.load(part.config_path));
    STRATA_CHECK(file != nullptr, "{}", part.config_path);
    RETURN_IF_ERROR(merge(config, embed(file->content, part.package), Missing::kKeepsBelow));
  }
  return config;
}

Result<Composed> compose_one(Repository& repository, const ComposeOptions& options,
                             const std::vector<Override>& overrides) {
  Composed out;
  for (const Override& override : overrides) {
    if (override.is_sweep()) return fail(needs_multirun(override));
    out.overrides.push_back(override.line);
  }
  ASSIGN_OR_RETURN(const DefaultsList list,
                   build_defaults_list(repository, options.config_name, overrides));
  ASSIGN_OR_RETURN(out.config, merge_files(repository, list));
  if (options.schema) {
    ASSIGN_OR_RETURN(Value schema, options.schema(out.config));
    RETURN_IF_ERROR(merge(schema, out.config, Missing::kWins));
    out.config = std::move(schema);
  }
  for (const Override* override : list.overrides)
    RETURN_IF_ERROR(apply_override(out.config, *override));
  if (options.resolve) {
    const Environment& environment =
        options.environment ? options.environment : process_environment;
    ASSIGN_OR_RETURN(out.config, resolve(out.config, environment));
  }
  return out;
}

}  // namespace

Result<std::vector<Composed>> compose(const ComposeOptions& options) {
  Repository repository(options.search_path);
  ASSIGN_OR_RETURN(const std::vector<Override> overrides, parse_overrides(options.overrides));
  std::vector<Composed> out;
  if (!options.multirun) {
    ASSIGN_OR_RETURN(Composed composed, compose_one(repository, options, overrides));
    out.push_back(std::move(composed));
    return out;
  }
  ASSIGN_OR_RETURN(const Jobs jobs, Jobs::make(repository, overrides));
  for (std::size_t i = 0; i < jobs.count(); ++i) {
    ASSIGN_OR_RETURN(Composed composed, compose_one(repository, options, jobs.job(i)));
    out.push_back(std::move(composed));
  }
  return out;
}

Result<std::string> defaults_tree(const ComposeOptions& options) {
  Repository repository(options.search_path);
  ASSIGN_OR_RETURN(const std::vector<Override> overrides, parse_overrides(options.overrides));
  for (const Override& override : overrides) {
    if (override.is_sweep()) return fail(needs_multirun(override));
  }
  ASSIGN_OR_RETURN(DefaultsList list,
                   build_defaults_list(repository, options.config_name, overrides));
  return std::move(list.tree);
}

std::vector<std::string> group_options(const std::vector<std::filesystem::path>& search_path,
                                       const std::string& group) {
  return Repository(search_path).options(group);
}

std::vector<std::string> groups(const std::vector<std::filesystem::path>& search_path) {
  return Repository(search_path).groups();
}

}  // namespace strata::config
