#include "results/reports/html_assets.h"

// Names as strata_embed() gives them in results/CMakeLists.txt.
extern "C" {
extern const char strata_page_css[], strata_page_css_end[];
extern const char strata_page_js[], strata_page_js_end[];
extern const char strata_charts_js[], strata_charts_js_end[];
extern const char strata_charts_bundle[], strata_charts_bundle_end[];
}

namespace strata {

std::string_view page_css() { return {strata_page_css, strata_page_css_end}; }
std::string_view page_js() { return {strata_page_js, strata_page_js_end}; }
std::string_view charts_js() { return {strata_charts_js, strata_charts_js_end}; }
std::string_view charts_bundle() { return {strata_charts_bundle, strata_charts_bundle_end}; }

}  // namespace strata
