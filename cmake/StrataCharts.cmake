# The script that draws the charts of HTML reports (Vega, Vega-Lite, Vega-Embed), out of the pinned PyPI wheel, and
# strata_embed, which puts files into a library.
#
# STRATA_CHARTS is the folder of requirements-charts.txt; tools/setup installs it. Where it is not given it is looked for
# beside LibTorch's folder, where tools/setup puts both. Fuzz targets draw nothing: theirs is empty.
set(STRATA_CHARTS "$ENV{STRATA_CHARTS}" CACHE PATH "Folder of the Python package vl_convert")
set(STRATA_CHARTS_SCRIPT ${CMAKE_BINARY_DIR}/charts_bundle.js)
if(STRATA_FUZZ)
  file(WRITE ${STRATA_CHARTS_SCRIPT} "")
else()
  if(NOT STRATA_CHARTS)
    set(torch "$CACHE{STRATA_TORCH}")
    if(NOT torch)
      set(torch "$ENV{STRATA_TORCH}")
    endif()
    file(GLOB found LIST_DIRECTORIES true "${torch}/../../python-*/vl_convert")
    if(found)
      list(GET found -1 found)
      get_filename_component(found "${found}/.." ABSOLUTE)
      set(STRATA_CHARTS "${found}" CACHE PATH "" FORCE)
    endif()
  endif()
  if(NOT EXISTS "${STRATA_CHARTS}/vl_convert")
    message(FATAL_ERROR "vl-convert-python is not at STRATA_CHARTS='${STRATA_CHARTS}' (expected vl_convert/ there).\n"
                        "  hint: run tools/setup, which installs it and prints the path")
  endif()
  find_package(Python3 3.11 REQUIRED COMPONENTS Interpreter)
  add_custom_command(
    OUTPUT ${STRATA_CHARTS_SCRIPT}
    COMMAND ${CMAKE_COMMAND} -E env PYTHONPATH=${STRATA_CHARTS} PYTHONDONTWRITEBYTECODE=1
            ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/bundle_charts.py ${STRATA_CHARTS_SCRIPT}
    DEPENDS ${CMAKE_SOURCE_DIR}/tools/bundle_charts.py ${CMAKE_SOURCE_DIR}/tools/requirements-charts.txt
    COMMENT "Bundling the charts' script" VERBATIM)
  add_custom_target(strata_charts_script DEPENDS ${STRATA_CHARTS_SCRIPT})
endif()

# strata_embed(TARGET SYMBOL FILE …): FILE's bytes as `extern "C" const char SYMBOL[]` up to SYMBOL_end. The assembler
# copies them (.incbin); as an array in C++ a megabyte takes a compiler seconds and a gigabyte.
enable_language(ASM)
function(strata_embed target)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}_embedded.S)
  set(text "    .section .rodata\n")
  set(files)
  while(ARGN)
    list(POP_FRONT ARGN symbol file)
    string(APPEND text "    .globl ${symbol}\n    .globl ${symbol}_end\n${symbol}:\n    .incbin \"${file}\"\n${symbol}_end:\n")
    list(APPEND files ${file})
  endwhile()
  string(APPEND text "    .section .note.GNU-stack,\"\",%progbits\n")
  file(CONFIGURE OUTPUT ${source} CONTENT "${text}" @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS "${files}")
  target_sources(${target} PRIVATE ${source})
endfunction()
