// How each strategy is made from its config; one overload a strategy, found by the registry through
// StrategyConfigs.
#pragma once

#include <memory>

#include "strategies/configs.h"
#include "strategies/strategy.h"

namespace strata {

std::unique_ptr<SelectionStrategy> make_strategy(const AttentionMassConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const ConsaConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const DuoAttentionConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const EndsConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const FileConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const FlashMorphConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const FullConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const GatePathConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const GradientAttributionConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const HaloRatioConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const HydraHeadConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const InvertedConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const KlGuidedConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const KlLsConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const LightTransferConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const LozaConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const MaskRegressionConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const NativeConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const NllGuidedConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const NoneConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const PeriodicConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const PostNasConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const QuadraticSurrogateConfig& config);
std::unique_ptr<SelectionStrategy> make_strategy(const RandomConfig& config);

}  // namespace strata
