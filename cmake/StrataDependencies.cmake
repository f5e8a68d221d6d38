# Every library we use, from Debian. No network at configure time.
if(STRATA_PORTABLE)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  set(OPENSSL_USE_STATIC_LIBS TRUE)
  add_link_options(-static-libstdc++ -static-libgcc)
endif()

find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Boost REQUIRED)
# Shared in portable builds too (only strata-judge needs it): as an archive it would bring two dozen others, and
# certificates and proxies are the system's business.
set(STRATA_LIBRARY_SUFFIXES ${CMAKE_FIND_LIBRARY_SUFFIXES})
set(CMAKE_FIND_LIBRARY_SUFFIXES .so)
find_library(CURL_LIBRARY curl)
find_path(CURL_INCLUDE_DIR curl/curl.h)
set(CMAKE_FIND_LIBRARY_SUFFIXES ${STRATA_LIBRARY_SUFFIXES})
if(NOT STRATA_FUZZ AND (NOT CURL_LIBRARY OR NOT CURL_INCLUDE_DIR))
  message(FATAL_ERROR "libcurl is missing\n  hint: run tools/setup, or apt-get install libcurl4-openssl-dev")
endif()
if(NOT STRATA_FUZZ)
  add_library(strata_curl INTERFACE)
  target_include_directories(strata_curl SYSTEM INTERFACE ${CURL_INCLUDE_DIR})
  target_link_libraries(strata_curl INTERFACE ${CURL_LIBRARY})
endif()

find_library(YAML_CPP_LIBRARY yaml-cpp REQUIRED)

add_library(strata_yaml INTERFACE)
target_link_libraries(strata_yaml INTERFACE ${YAML_CPP_LIBRARY})

# LibTorch's wheel carries another fmt in its include folder, which would shadow ours and break it. A folder that
# holds only a link to the system's fmt/ stands first in every include path.
find_path(FMT_INCLUDE_DIR fmt/format.h REQUIRED NO_CMAKE_FIND_ROOT_PATH)
set(STRATA_FMT_FIRST ${CMAKE_BINARY_DIR}/fmt_first)
file(MAKE_DIRECTORY ${STRATA_FMT_FIRST})
file(CREATE_LINK ${FMT_INCLUDE_DIR}/fmt ${STRATA_FMT_FIRST}/fmt SYMBOLIC)
add_library(strata_fmt INTERFACE)
target_include_directories(strata_fmt BEFORE INTERFACE ${STRATA_FMT_FIRST})
if(STRATA_PORTABLE)
  target_compile_definitions(strata_fmt INTERFACE FMT_HEADER_ONLY)
else()
  find_library(FMT_LIBRARY fmt REQUIRED)
  target_link_libraries(strata_fmt INTERFACE ${FMT_LIBRARY})
endif()
