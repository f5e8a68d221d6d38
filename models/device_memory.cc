#include "models/device_memory.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "models/decoder/decoder.h"

namespace strata {
namespace {

at::Device device_of(const Model& model) { return model.decoder().options().device(); }

constexpr auto kAll = static_cast<std::size_t>(at::CachingAllocator::StatType::AGGREGATE);

at::CachingDeviceAllocator::Stat allocated(at::Device device) {
  return at::accelerator::getDeviceStats(device.index()).allocated_bytes[kAll];
}

}  // namespace

std::uint64_t free_memory(const Model& model) {
  const at::Device device = device_of(model);
  if (!device.is_cpu()) {
    const auto stats = at::accelerator::getDeviceStats(device.index());
    const auto unused = static_cast<std::uint64_t>(stats.reserved_bytes[kAll].current -
                                                   stats.allocated_bytes[kAll].current);
    return at::accelerator::getMemoryInfo(device.index()).first + unused;
  }
  std::ifstream in("/proc/meminfo");
  for (std::string name, unit; in >> name;) {
    std::uint64_t kibibytes = 0;
    in >> kibibytes >> unit;
    if (name == "MemAvailable:") return kibibytes << 10;
    if (name == "HugePages_Total:") break;
  }
  return std::numeric_limits<std::uint64_t>::max();  // unknown
}

Result<std::uint64_t> check_memory(const Model& model, std::uint64_t needed, std::string_view what,
                                   std::string_view beside, std::string_view hint) {
  const std::uint64_t there = free_memory(model);
  if (needed > there)
    return fail(make_error(ErrorKind::kUnsupported, "{} needs about {} beside {}; {} are free",
                           what, readable_bytes(needed), beside, readable_bytes(there))
                    .with_hint(std::string(hint)));
  return there;
}

std::string readable_bytes(std::uint64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / static_cast<double>(1 << 30));
}

// Hears of what this thread's CPU allocations come to, as LibTorch's profiler would.
class PeakMemory::CpuCount {
 public:
  std::uint64_t peak() const { return static_cast<std::uint64_t>(listener_->peak); }

 private:
  struct Listener : public c10::MemoryReportingInfoBase {
    std::int64_t held = 0, peak = 0;
    void reportMemoryUsage(void* /*pointer*/, std::int64_t size, std::size_t /*allocated*/,
                           std::size_t /*reserved*/, c10::Device /*device*/) override {
      held += size;  // of what is freed: negative
      peak = std::max(peak, held);
    }
    bool memoryProfilingEnabled() const override { return true; }
  };
  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, listener_};
};

PeakMemory::PeakMemory(const Model& model) : model_(model) {
  const at::Device device = device_of(model);
  if (device.is_cpu()) {
    cpu_ = std::make_unique<CpuCount>();
    return;
  }
  at::accelerator::resetPeakStats(device.index());
  before_ = static_cast<std::uint64_t>(allocated(device).current);
}

PeakMemory::~PeakMemory() = default;

std::uint64_t PeakMemory::bytes() const {
  if (cpu_) return cpu_->peak();
  return static_cast<std::uint64_t>(allocated(device_of(model_)).peak) - before_;
}

}  // namespace strata
