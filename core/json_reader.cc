#include "core/json_reader.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace strata {
namespace {

using nlohmann::json;

// What a value takes in its container. A growing vector holds up to twice its elements; and the
// library destroys a tree by moving all elements of a container to a vector, which grows too: that
// counts where the container is not small (of small ones it holds few at a time).
constexpr std::size_t kSmall = 64;
constexpr std::size_t kMoveBytes = 3 * sizeof(json);
constexpr std::size_t kElementBytes = 2 * sizeof(json);
constexpr std::size_t kMemberBytes = 88;  // a node of std::map with its key
std::size_t place_bytes(const json& container, std::size_t size) {
  return (container.is_array() ? kElementBytes : kMemberBytes) + (size < kSmall ? 0 : kMoveBytes);
}
constexpr std::size_t kListBytes = sizeof(json::array_t);
constexpr std::size_t kObjectBytes = sizeof(json::object_t);
constexpr std::size_t kInlineChars = 15;  // that std::string holds without allocating

std::size_t heap_bytes(const std::string& text) {
  return text.size() > kInlineChars ? text.size() + 1 : 0;
}
std::size_t string_bytes(const std::string& text) {
  return sizeof(std::string) + 8 + heap_bytes(text);
}

class TreeBuilder : public nlohmann::json_sax<json> {
 public:
  TreeBuilder(std::size_t max_bytes, std::size_t max_depth)
      : bytes_left_(max_bytes), max_bytes_(max_bytes), max_depth_(max_depth) {}

  json root;
  std::optional<Error> error;

  bool null() override { return add(nullptr, 0); }
  bool boolean(bool value) override { return add(value, 0); }
  bool number_integer(std::int64_t value) override { return add(value, 0); }
  bool number_unsigned(std::uint64_t value) override { return add(value, 0); }
  bool number_float(double value, const std::string&) override { return add(value, 0); }
  bool binary(json::binary_t&) override { return false; }  // JSON has none
  bool string(std::string& value) override {
    const std::size_t bytes = string_bytes(value);
    return add(std::move(value), bytes);
  }

  bool start_object(std::size_t) override { return open(json::object(), kObjectBytes); }
  bool start_array(std::size_t) override { return open(json::array(), kListBytes); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    const json& object = *open_.back();
    if (!charge(place_bytes(object, object.size()) + heap_bytes(name))) return false;
    auto& members = open_.back()->get_ref<json::object_t&>();
    const auto [place, fresh] = members.emplace(std::move(name), nullptr);
    member_ = &place->second;
    if (fresh) return true;
    error = make_error(ErrorKind::kInvalidFile, "expected the field once, got it twice")
                .at(fmt::format("field '{}'", place->first));
    return false;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const json::exception& exception) override {
    constexpr int kOutOfRange = 406;
    error = exception.id == kOutOfRange
                ? make_error(ErrorKind::kInvalidFile, "invalid JSON: a number out of range")
                : make_error(ErrorKind::kInvalidFile, "invalid JSON at byte {}", position);
    return false;
  }

 private:
  bool charge(std::size_t bytes) {
    if (bytes <= bytes_left_) {
      bytes_left_ -= bytes;
      return true;
    }
    error = make_error(ErrorKind::kInvalidFile,
                       "expected JSON that takes at most {} bytes of memory, got more", max_bytes_);
    return false;
  }

  // Where the value now stands, in last_; its place does not move while it is open.
  bool add(json value, std::size_t bytes) {
    json* const parent = open_.empty() ? nullptr : open_.back();
    const bool element = parent != nullptr && parent->is_array();
    if (!charge(bytes + (element ? place_bytes(*parent, parent->size()) : 0))) return false;
    if (element) {
      parent->push_back(std::move(value));
      last_ = &parent->back();
    } else {
      last_ = parent == nullptr ? &root : member_;
      *last_ = std::move(value);
    }
    return true;
  }

  bool open(json container, std::size_t bytes) {
    if (open_.size() == max_depth_) {
      error = make_error(ErrorKind::kInvalidFile, "expected at most {} levels of nesting, got more",
                         max_depth_);
      return false;
    }
    if (!add(std::move(container), bytes)) return false;
    open_.push_back(last_);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::size_t bytes_left_;
  std::size_t max_bytes_;
  std::size_t max_depth_;
  std::vector<json*> open_;  // outermost first
  json* member_ = nullptr;   // of the innermost object: where the value of the last key goes
  json* last_ = nullptr;
};

}  // namespace

Result<json> parse_json(std::string_view text, JsonLimits limits) {
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos)
    return fail(ErrorKind::kInvalidFile, "invalid JSON at byte {}", zero + 1);
  TreeBuilder builder(limits.tree_bytes.value_or(max_tree_bytes(text.size())),
                      static_cast<std::size_t>(limits.depth));
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    STRATA_CHECK(builder.error.has_value());
    return fail(*std::move(builder.error));
  }
  return std::move(builder.root);
}

std::size_t tree_bytes(const json& tree) {
  if (tree.is_string()) return string_bytes(tree.get_ref<const std::string&>());
  if (!tree.is_structured()) return 0;
  std::size_t bytes = tree.is_array() ? kListBytes : kObjectBytes;
  std::size_t size = 0;
  for (const auto& [name, value] : tree.items())
    bytes +=
        place_bytes(tree, size++) + (tree.is_object() ? heap_bytes(name) : 0) + tree_bytes(value);
  return bytes;
}

}  // namespace strata
