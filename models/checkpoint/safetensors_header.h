// The JSON header of a safetensors file, read event by event: no value of it is kept but what the
// format names. Internal to models/checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "models/checkpoint/safetensors.h"

namespace strata::safetensors {

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  // bytes, from the first byte behind the header
};

struct Header {
  std::map<std::string, std::string> metadata;
  std::vector<TensorInfo>
      tensors;  // names are unique: of equal ones the last counts, as in the reference
};

// Checks each description by itself; how they lie beside each other is check_layout's matter.
Result<Header> parse_header(std::string_view json);

// Sorts by offset. The tensors cover [0, data_bytes) without hole or overlap, each with the size of
// its dtype and shape.
Status check_layout(std::vector<TensorInfo>& tensors, std::uint64_t data_bytes);

}  // namespace strata::safetensors
