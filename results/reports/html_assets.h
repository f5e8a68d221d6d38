// The files that an HTML report carries within it, embedded at build time (strata_embed).
#pragma once

#include <string_view>

namespace strata {

std::string_view page_css();
std::string_view page_js();
std::string_view charts_js();
std::string_view charts_bundle();  // Vega, Vega-Lite and Vega-Embed; empty in fuzz builds

}  // namespace strata
