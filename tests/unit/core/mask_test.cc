#include "core/mask.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/budget.h"

namespace strata {
namespace {

constexpr HeadLayout kLayout{.layers = 30, .query_heads = 9, .kv_heads = 3};

TEST(MaskTest, JsonRoundTripsAtEveryGranularity) {
  for (const Granularity g : {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead}) {
    Mask mask(g, kLayout, false);
    mask = mask.with(2, true).with(mask.size() - 1, true);
    const Result<Mask> back = mask_from_json(to_json(mask), g, kLayout);
    ASSERT_TRUE(back) << back.error().text();
    EXPECT_EQ(*back, mask);
    EXPECT_EQ(back->kept(), 2u);
  }
}

TEST(MaskTest, ErrorsNameTheLayerAndWhatWasThere) {
  nlohmann::json rows = to_json(Mask(Granularity::kKvHead, kLayout, false));
  rows[3][1] = 2;
  EXPECT_EQ(mask_from_json(rows, Granularity::kKvHead, kLayout).error().text(),
            "mask, layer 3, unit 1: expected 0 or 1, got 2");
  rows[3] = nlohmann::json::array({1});
  EXPECT_EQ(mask_from_json(rows, Granularity::kKvHead, kLayout).error().text(),
            "mask, layer 3: expected 3 values (kv_head granularity), got 1");
  rows.erase(0);
  EXPECT_EQ(mask_from_json(rows, Granularity::kKvHead, kLayout).error().text(),
            "mask: expected 30 rows (one a layer), got 29");
}

TEST(MaskTest, AQueryHeadKeepsItsWholeKvHead) {
  Mask mask(Granularity::kQueryHead, kLayout, false);
  EXPECT_EQ(mask.kept_kv_share(), 0.0);
  EXPECT_DOUBLE_EQ(mask.with(0, true).kept_kv_share(), 1.0 / 90);
  EXPECT_DOUBLE_EQ(mask.with(0, true).with(2, true).kept_kv_share(), 1.0 / 90);
  EXPECT_DOUBLE_EQ(mask.with(0, true).with(3, true).kept_kv_share(), 2.0 / 90);
  EXPECT_DOUBLE_EQ(Mask(Granularity::kLayer, kLayout, true).kept_kv_share(), 1.0);
}

TEST(BudgetTest, IsAShareOfTheLayersAtEveryGranularity) {
  const auto units = [](Budget budget, Granularity g) {
    return *units_to_keep(budget, kLayout, g);
  };
  EXPECT_EQ(units({.fraction = 0.25}, Granularity::kLayer), 7u);
  EXPECT_EQ(units({.fraction = 0.25}, Granularity::kKvHead), 21u);
  EXPECT_EQ(units({.fraction = 0.25}, Granularity::kQueryHead), 63u);
  EXPECT_EQ(units({.fraction = 0.25, .rounding = Rounding::kNearest}, Granularity::kLayer), 8u);
  EXPECT_EQ(units({.fraction = 0.25, .rounding = Rounding::kCeiling}, Granularity::kLayer), 8u);
  EXPECT_EQ(units({.fraction = 0.001}, Granularity::kLayer), 1u);
  EXPECT_EQ(units({.fraction = 0.1}, Granularity::kLayer), 3u);
  EXPECT_EQ(units({.fraction = 1.0}, Granularity::kLayer), 30u);
  EXPECT_EQ(units({.units = 5}, Granularity::kKvHead), 5u);
}

TEST(BudgetTest, WhatCannotBeMetIsAnError) {
  EXPECT_EQ(units_to_keep({.units = 31}, kLayout, Granularity::kLayer).error().text(),
            "budget.units is 31; the model has 30 units (30 layers × 1 at layer granularity)\n"
            "  hint: give 1 to 30");
  EXPECT_FALSE(units_to_keep({.units = 0}, kLayout, Granularity::kLayer));
  for (const double fraction : {0.0, -0.5, 1.01, std::nan("")})
    EXPECT_FALSE(units_to_keep({.fraction = fraction}, kLayout, Granularity::kLayer)) << fraction;
}

}  // namespace
}  // namespace strata
