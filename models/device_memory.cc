#include "models/device_memory.h"

#include <ATen/DeviceAccelerator.h>

#include <fstream>
#include <limits>
#include <string>

#include "models/decoder/decoder.h"

namespace strata {
namespace {

at::Device device_of(const Model& model) { return model.decoder().options().device(); }

at::CachingDeviceAllocator::Stat allocated(at::Device device) {
  constexpr auto kAll = static_cast<std::size_t>(at::CachingAllocator::StatType::AGGREGATE);
  return at::accelerator::getDeviceStats(device.index()).allocated_bytes[kAll];
}

}  // namespace

std::uint64_t free_memory(const Model& model) {
  const at::Device device = device_of(model);
  if (!device.is_cpu()) return at::accelerator::getMemoryInfo(device.index()).first;
  std::ifstream in("/proc/meminfo");
  for (std::string name, unit; in >> name;) {
    std::uint64_t kibibytes = 0;
    in >> kibibytes >> unit;
    if (name == "MemAvailable:") return kibibytes << 10;
    if (name == "HugePages_Total:") break;
  }
  return std::numeric_limits<std::uint64_t>::max();  // unknown
}

PeakMemory::PeakMemory(const Model& model) : model_(model) {
  const at::Device device = device_of(model);
  if (device.is_cpu()) return;
  at::accelerator::resetPeakStats(device.index());
  before_ = static_cast<std::uint64_t>(allocated(device).current);
}

std::optional<std::uint64_t> PeakMemory::bytes() const {
  const at::Device device = device_of(model_);
  if (device.is_cpu()) return std::nullopt;
  return static_cast<std::uint64_t>(allocated(device).peak) - before_;
}

}  // namespace strata
