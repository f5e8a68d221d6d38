#include "runner/config/yaml_reader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <optional>
#include <sstream>

#include "runner/config/scalar.h"

namespace strata::config {
namespace {

// How our own refusals leave yaml-cpp's parser; caught in read_yaml.
struct Refusal {
  SourcePos pos;
  Error error;
};

std::size_t count_nodes(const Value& value) {
  std::size_t count = 1;
  if (const List* list = value.if_list()) {
    for (const Value& item : *list) count += count_nodes(item);
  }
  if (const Map* map = value.if_map()) {
    for (const MapEntry& entry : *map) count += count_nodes(entry.value);
  }
  return count;
}

class Builder : public YAML::EventHandler {
 public:
  explicit Builder(const std::string& file) : file_(file) {}

  Value take() { return root_ ? *std::move(root_) : Value(); }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    leaf(Value(), mark, anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(mark, "an alias refers to the value it stands in");
    count(mark, count_nodes(found->second));
    Value copy = found->second;
    copy.pos = position(mark);
    add(std::move(copy));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    leaf(typed(mark, tag, text), mark, anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(List(), mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(Map(), mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    Value container;
    YAML::anchor_t anchor;
    std::optional<Value> key;   // of a map: read, and its value is next
    std::vector<Value> merged;  // the values of "<<"
  };

  SourcePos position(const YAML::Mark& mark) const {
    return {file_, static_cast<std::size_t>(mark.line) + 1,
            static_cast<std::size_t>(mark.column) + 1};
  }
  [[noreturn]] void refuse(const YAML::Mark& mark, std::string message) const {
    throw Refusal{position(mark), Error{ErrorKind::kInvalidFile, std::move(message), {}, {}}};
  }

  Value typed(const YAML::Mark& mark, const std::string& tag, const std::string& text) const {
    static constexpr std::string_view kPrefix = "tag:yaml.org,2002:";
    if (tag == "!") return Value(text);  // quoted
    Result<Value> value = plain_scalar(text);
    if (tag == "?" || tag.empty()) {
      if (!value) throw Refusal{position(mark), std::move(value).error()};
      return *std::move(value);
    }
    const std::string_view name =
        tag.starts_with(kPrefix) ? std::string_view(tag).substr(kPrefix.size()) : tag;
    if (name == "str") return Value(text);
    if (name == "float" && value && value->if_int() != nullptr)
      return Value(static_cast<double>(*value->if_int()));
    const bool good = value && ((name == "int" && value->if_int() != nullptr) ||
                                (name == "float" && value->if_double() != nullptr) ||
                                (name == "bool" && value->if_bool() != nullptr) ||
                                (name == "null" && value->is_null()));
    if (!good) refuse(mark, fmt::format("cannot read '{}' as the tag {}", text, tag));
    return *std::move(value);
  }

  void count(const YAML::Mark& mark, std::size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > kMaxYamlNodes)
      refuse(mark, fmt::format("more than {} values (aliases expanded)", kMaxYamlNodes));
  }

  void leaf(Value value, const YAML::Mark& mark, YAML::anchor_t anchor) {
    count(mark, 1);
    value.pos = position(mark);
    if (anchor != 0) anchors_[anchor] = value;
    add(std::move(value));
  }

  void open(Value container, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    count(mark, 1);
    if (frames_.size() >= kMaxYamlDepth)
      refuse(mark, fmt::format("nested deeper than {} levels", kMaxYamlDepth));
    const bool core_tag = tag == "tag:yaml.org,2002:map" || tag == "tag:yaml.org,2002:seq";
    if (!tag.empty() && tag != "?" && tag != "!" && !core_tag)
      refuse(mark, fmt::format("unknown tag {}", tag));
    container.pos = position(mark);
    frames_.push_back({std::move(container), anchor, std::nullopt, {}});
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    merge_into(frame);
    if (frame.anchor != 0) anchors_[frame.anchor] = frame.container;
    add(std::move(frame.container));
  }

  // "<<: *a" or "<<: [*a, *b]": keys of a mapping that the map does not have itself; earlier ones
  // win.
  void merge_into(Frame& frame) const {
    for (const Value& source : frame.merged) {
      const Map* map = source.if_map();
      if (map == nullptr) {
        throw Refusal{source.pos, make_error(ErrorKind::kInvalidFile,
                                             "'<<' expected a mapping, got {}", source.describe())};
      }
      for (const MapEntry& entry : *map) {
        Map& target = *frame.container.if_map();
        if (target.find(entry.key) == nullptr) target.set(entry.key, entry.key_pos, entry.value);
      }
    }
  }

  void add(Value value) {
    if (frames_.empty()) {
      root_ = std::move(value);
      return;
    }
    Frame& frame = frames_.back();
    if (List* list = frame.container.if_list()) {
      list->push_back(std::move(value));
    } else if (!frame.key) {
      frame.key = std::move(value);
    } else {
      Value key = *std::move(frame.key);
      frame.key.reset();
      add_entry(frame, key, std::move(value));
    }
  }

  void add_entry(Frame& frame, const Value& key, Value value) const {
    std::string name;
    if (const std::string* text = key.if_string()) {
      name = *text;
    } else if (key.if_int() != nullptr || key.if_bool() != nullptr || key.if_double() != nullptr) {
      name = key.to_text();
    } else {
      throw Refusal{key.pos, make_error(ErrorKind::kInvalidFile, "expected a name as key, got {}",
                                        key.describe())};
    }
    if (name == "<<") {
      if (List* list = value.if_list()) {
        for (Value& item : *list) frame.merged.push_back(std::move(item));
      } else {
        frame.merged.push_back(std::move(value));
      }
      return;
    }
    Map& map = *frame.container.if_map();
    if (const MapEntry* first = map.find_entry(name)) {
      throw Refusal{key.pos, make_error(ErrorKind::kInvalidFile, "the key '{}' is here twice", name)
                                 .with_hint("the first is at " + first->key_pos.text())};
    }
    map.set(std::move(name), key.pos, std::move(value));
  }

  const std::string& file_;
  std::optional<Value> root_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Value> anchors_;
  std::size_t nodes_ = 0;
};

}  // namespace

Result<Value> read_yaml(std::string_view text, const std::string& file) {
  if (text.size() > kMaxYamlBytes) {
    return fail(make_error(ErrorKind::kInvalidFile, "expected at most {} bytes of YAML, got {}",
                           kMaxYamlBytes, text.size())
                    .at(file));
  }
  if (!is_clean_text(text)) {
    return fail(make_error(ErrorKind::kInvalidFile, "is not UTF-8 text, or has control characters")
                    .at(file));
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Builder builder(file);
    if (!parser.HandleNextDocument(builder)) {
      Value empty{Map()};
      empty.pos = {file, 1, 1};
      return empty;
    }
    Value value = builder.take();
    Builder rest(file);
    if (parser.HandleNextDocument(rest)) {
      return fail(
          make_error(ErrorKind::kInvalidFile, "expected one YAML document, got several").at(file));
    }
    if (value.is_null()) {
      SourcePos pos = value.pos;
      value = Value(Map());
      value.pos = std::move(pos);
    }
    return value;
  } catch (Refusal& refusal) {
    return fail(std::move(refusal.error).at(refusal.pos.text()));
  } catch (const YAML::Exception& error) {
    const SourcePos pos{file, static_cast<std::size_t>(error.mark.line) + 1,
                        static_cast<std::size_t>(error.mark.column) + 1};
    return fail(make_error(ErrorKind::kInvalidFile, "is not YAML: {}", error.msg)
                    .at(error.mark.is_null() ? file : pos.text()));
  } catch (const std::exception& error) {
    return fail(
        make_error(ErrorKind::kInternal, "the YAML parser failed: {}", error.what()).at(file));
  }
}

}  // namespace strata::config
