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

struct Size {
  std::size_t nodes = 0;
  std::size_t text_bytes = 0;
};

void add_size(const Value& value, Size& size) {
  ++size.nodes;
  if (const std::string* text = value.if_string()) size.text_bytes += text->size();
  if (const List* list = value.if_list()) {
    for (const Value& item : *list) add_size(item, size);
  }
  if (const Map* map = value.if_map()) {
    for (const MapEntry& entry : *map) {
      size.text_bytes += entry.key.size();
      add_size(entry.value, size);
    }
  }
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
    count_copy(position(mark), found->second);
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
    refuse(position(mark), std::move(message));
  }
  [[noreturn]] void refuse(const SourcePos& pos, std::string message) const {
    throw Refusal{pos, Error{ErrorKind::kInvalidFile, std::move(message), {}, {}}};
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

  void count(const SourcePos& pos, Size size) {
    size_.nodes += size.nodes;
    size_.text_bytes += size.text_bytes;
    if (size_.nodes > kMaxYamlNodes)
      refuse(pos, fmt::format("more than {} values (aliases expanded)", kMaxYamlNodes));
    if (size_.text_bytes > kMaxYamlTextBytes)
      refuse(pos, fmt::format("more than {} bytes of text (aliases expanded)", kMaxYamlTextBytes));
  }

  void count_copy(const SourcePos& pos, const Value& value) {
    Size size;
    add_size(value, size);
    count(pos, size);
  }

  void remember(YAML::anchor_t anchor, const Value& value) {
    if (anchor == 0) return;
    count_copy(value.pos, value);
    anchors_[anchor] = value;
  }

  void leaf(Value value, const YAML::Mark& mark, YAML::anchor_t anchor) {
    value.pos = position(mark);
    count_copy(value.pos, value);
    remember(anchor, value);
    add(std::move(value));
  }

  void open(Value container, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    count(position(mark), {.nodes = 1});
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
    remember(frame.anchor, frame.container);
    add(std::move(frame.container));
  }

  void check_keys(const Map& map, const SourcePos& pos) const {
    if (map.size() == kMaxYamlKeys)
      refuse(pos, fmt::format("more than {} keys in a mapping", kMaxYamlKeys));
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
        check_keys(target, source.pos);
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
    if (name.size() > kMaxYamlKeyBytes)
      refuse(key.pos, fmt::format("expected a key of at most {} bytes, got {}", kMaxYamlKeyBytes,
                                  name.size()));
    if (name == "<<") {
      if (List* list = value.if_list()) {
        for (Value& item : *list) frame.merged.push_back(std::move(item));
      } else {
        frame.merged.push_back(std::move(value));
      }
      return;
    }
    Map& map = *frame.container.if_map();
    check_keys(map, key.pos);
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
  Size size_;
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
