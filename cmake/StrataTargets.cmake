add_library(strata_options INTERFACE)
target_include_directories(strata_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(strata_options INTERFACE -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wnon-virtual-dtor
                       -Wno-missing-field-initializers  # designated initialisers leave defaults out
                       # GCC 12 sees overlaps in std::string that are not there (bug 105329)
                       $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
if(STRATA_WERROR)
  target_compile_options(strata_options INTERFACE -Werror)
endif()
if(STRATA_SANITIZE)
  add_compile_options(-fsanitize=${STRATA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${STRATA_SANITIZE})
endif()

# strata_library(NAME SOURCES … [LINKS …]): one library a folder, so that a wrong include fails to link.
function(strata_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC strata_fmt strata_options ${ARG_LINKS})
endfunction()

# strata_test(NAME SOURCES … [LINKS …] [LABEL unit|parity|crash] [THREADS n] [CUDA]): one GoogleTest program, one ctest
# entry a program; THREADS is what ctest counts against the cores. CUDA: the program's tests named Cuda/… are a second
# entry, NAME_cuda, under label gpu.
function(strata_test name)
  cmake_parse_arguments(ARG "CUDA" "LABEL;THREADS" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE strata_fmt strata_options ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} $<$<BOOL:${ARG_CUDA}>:--gtest_filter=-Cuda*>
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_THREADS)
    set(ARG_THREADS 1)
  endif()
  # Threads that wait must not spin: on a busy machine that costs several times the work itself.
  set(entries ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL})
  if(ARG_CUDA)
    add_test(NAME ${name}_cuda COMMAND ${name} --gtest_filter=Cuda* WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name}_cuda PROPERTIES LABELS gpu)
    list(APPEND entries ${name}_cuda)
  endif()
  set_tests_properties(${entries} PROPERTIES PROCESSORS ${ARG_THREADS} TIMEOUT 900
    ENVIRONMENT "OMP_NUM_THREADS=${ARG_THREADS};OMP_WAIT_POLICY=passive;GOMP_SPINCOUNT=0;STRATA_BINARY_DIR=${CMAKE_BINARY_DIR};STRATA_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
endfunction()
