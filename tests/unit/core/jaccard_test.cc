#include "core/jaccard.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

TEST(Jaccard, IsTheSharedPartOfTheUnion) {
  EXPECT_EQ(jaccard({3, 1, 2}, {1, 2, 3}), 1.0);
  EXPECT_EQ(jaccard({1, 2, 3}, {3, 4, 5}), 0.2);
  EXPECT_EQ(jaccard({1}, {2}), 0.0);
  EXPECT_EQ(jaccard({}, {}), 1.0);
}

}  // namespace
}  // namespace strata
