// Tests that run on the CPU and on a GPU: a suite that derives from DeviceTest and is instantiated
// with STRATA_ON_EVERY_DEVICE. ctest runs the second half under label gpu.
#pragma once

#include <c10/core/Device.h>
#include <gtest/gtest.h>

#include <string>

#include "models/decoder/weights.h"

namespace strata::testing {

class DeviceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;  // skips where there is no such device, and says so
  at::Device device() const { return at::Device(GetParam()); }
};

Weights to_device(Weights weights, at::Device device);

inline std::string device_of(const ::testing::TestParamInfo<std::string>& test) {
  return test.param;
}

#define STRATA_ON_EVERY_DEVICE(suite)                                                           \
  INSTANTIATE_TEST_SUITE_P(Cpu, suite, ::testing::Values("cpu"), ::strata::testing::device_of); \
  INSTANTIATE_TEST_SUITE_P(Cuda, suite, ::testing::Values("cuda"), ::strata::testing::device_of)

}  // namespace strata::testing
