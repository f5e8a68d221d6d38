# strata::torch: LibTorch out of the pinned PyPI wheel. (find_package(Torch) fails where the CUDA toolkit is absent.)
#
# STRATA_TORCH is the folder of the Python package `torch`; tools/setup finds or installs it. Where it is not given,
# the environment variable of the same name, then the python3 in use, are asked.
set(STRATA_TORCH "$ENV{STRATA_TORCH}" CACHE PATH "Folder of the Python package torch (2.11)")
if(NOT STRATA_TORCH)
  execute_process(COMMAND python3 -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                  OUTPUT_VARIABLE STRATA_TORCH_FOUND OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(STRATA_TORCH "${STRATA_TORCH_FOUND}" CACHE PATH "" FORCE)
endif()
if(NOT EXISTS "${STRATA_TORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch is not at STRATA_TORCH='${STRATA_TORCH}' (expected lib/libtorch_cpu.so there).\n"
                      "  hint: run tools/setup, which installs it and prints the path")
endif()

set(STRATA_CUDA_RUNTIME OFF)
if(STRATA_CUDA AND EXISTS "${STRATA_TORCH}/lib/libtorch_cuda.so")
  set(STRATA_CUDA_RUNTIME ON)  # device=cuda works through ATen, with or without nvcc
endif()

add_library(strata_torch INTERFACE)
target_include_directories(strata_torch SYSTEM INTERFACE ${STRATA_TORCH}/include
                           ${STRATA_TORCH}/include/torch/csrc/api/include)
target_link_directories(strata_torch INTERFACE ${STRATA_TORCH}/lib)
target_compile_definitions(strata_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_link_libraries(strata_torch INTERFACE -Wl,--no-as-needed torch_cpu c10)
if(STRATA_CUDA_RUNTIME)
  target_link_libraries(strata_torch INTERFACE torch_cuda c10_cuda)
endif()
target_link_libraries(strata_torch INTERFACE -Wl,--as-needed)
target_link_options(strata_torch INTERFACE -Wl,-rpath,${STRATA_TORCH}/lib -Wl,--allow-shlib-undefined)
add_library(strata::torch ALIAS strata_torch)

# Our own CUDA kernels need nvcc; everything else works without it.
include(CheckLanguage)
set(STRATA_KERNELS OFF)
if(STRATA_CUDA)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(STRATA_KERNELS ON)
  endif()
endif()
message(STATUS "LibTorch at ${STRATA_TORCH}; CUDA runtime ${STRATA_CUDA_RUNTIME}, own CUDA kernels ${STRATA_KERNELS}")
