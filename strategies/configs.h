// Every strategy's config struct: the one list that help, completion, unknown-key errors and
// construction come from. Includes core/ only, so that the command line knows all keys without
// linking a model.
#pragma once

#include <tuple>

#include "strategies/attention_mass_config.h"
#include "strategies/consa_config.h"
#include "strategies/duo_attention_config.h"
#include "strategies/ends_config.h"
#include "strategies/file_config.h"
#include "strategies/flashmorph_config.h"
#include "strategies/full_config.h"
#include "strategies/gate_path_config.h"
#include "strategies/gradient_attribution_config.h"
#include "strategies/halo_ratio_config.h"
#include "strategies/hydra_head_config.h"
#include "strategies/kl_guided_config.h"
#include "strategies/kl_ls_config.h"
#include "strategies/light_transfer_config.h"
#include "strategies/mask_regression_config.h"
#include "strategies/native_config.h"
#include "strategies/nll_guided_config.h"
#include "strategies/none_config.h"
#include "strategies/periodic_config.h"
#include "strategies/postnas_config.h"
#include "strategies/quadratic_surrogate_config.h"
#include "strategies/random_config.h"

namespace strata {

// Alphabetical by kName.
using StrategyConfigs =
    std::tuple<AttentionMassConfig, ConsaConfig, DuoAttentionConfig, EndsConfig, FileConfig,
               FlashMorphConfig, FullConfig, GatePathConfig, GradientAttributionConfig,
               HaloRatioConfig, HydraHeadConfig, InvertedConfig, KlGuidedConfig, KlLsConfig,
               LightTransferConfig, LozaConfig, MaskRegressionConfig, NativeConfig, NllGuidedConfig,
               NoneConfig, PeriodicConfig, PostNasConfig, QuadraticSurrogateConfig, RandomConfig>;

}  // namespace strata
