# quaver_layer(NAME SOURCES a.cpp ... DEPS core ... LIBS external::target ... TESTS a_test.cpp ...
#              TEST_LIBS target ...)
#
# One layer of src/: the static library quaver_NAME and, with BUILD_TESTING, the test program
# quaver_NAME_test (one for the whole layer, registered with CTest).
set(QUAVER_WARNINGS -Wall -Wextra -Wpedantic -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC bugs 105651, 105329 and their relatives: strings joined in plain ways are taken for
  # overlapping or overlong copies. clang and newer GCCs check the same code without complaint.
  list(APPEND QUAVER_WARNINGS -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # std::stable_sort of GCC 12's library calls what that library marks as deprecated.
  list(APPEND QUAVER_WARNINGS -Wno-deprecated-declarations)
endif()

# Several files are compiled at a time: half the time from nothing, a little more after a change.
option(QUAVER_UNITY "Compile several files of a layer at a time" ON)

# Reading nlohmann's JSON and GoogleTest takes longer than compiling most files here.
option(QUAVER_PRECOMPILE "Precompile the large headers of other projects" ON)
set(QUAVER_HEAVY_HEADERS <nlohmann/json.hpp> <functional> <map> <memory> <string> <vector>)

# Precompiled headers for `target`, shared with `first` if that is another target.
function(quaver_precompile target first)
  if(NOT QUAVER_PRECOMPILE)
    return()
  endif()
  if(target STREQUAL first)
    target_precompile_headers(${target} PRIVATE ${QUAVER_HEAVY_HEADERS} ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM ${first})
  endif()
endfunction()

function(quaver_options target)
  if(QUAVER_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
  target_compile_options(${target} PRIVATE ${QUAVER_WARNINGS})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  if(QUAVER_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(QUAVER_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${QUAVER_SANITIZE} -fno-omit-frame-pointer)
    if(QUAVER_SANITIZE MATCHES undefined)  # what ends in a crash anyway, at half of the compile time
      target_compile_options(${target} PUBLIC -fno-sanitize=null,vptr,object-size)
    endif()
    target_link_options(${target} PUBLIC -fsanitize=${QUAVER_SANITIZE})
  endif()
endfunction()

function(quaver_layer name)
  cmake_parse_arguments(LAYER "" "" "SOURCES;DEPS;LIBS;TESTS;TEST_LIBS" ${ARGN})
  add_library(quaver_${name} STATIC ${LAYER_SOURCES})
  quaver_options(quaver_${name})
  quaver_precompile(quaver_${name} quaver_core)
  list(TRANSFORM LAYER_DEPS PREPEND quaver_ OUTPUT_VARIABLE deps)
  target_link_libraries(quaver_${name} PUBLIC ${deps} ${LAYER_LIBS})
  set_property(GLOBAL APPEND PROPERTY QUAVER_LAYERS quaver_${name})
  set_property(GLOBAL APPEND PROPERTY QUAVER_LIBS ${LAYER_LIBS})
  if(BUILD_TESTING AND LAYER_TESTS)
    add_executable(quaver_${name}_test ${LAYER_TESTS})
    quaver_options(quaver_${name}_test)
    quaver_precompile(quaver_${name}_test quaver_core_test <gtest/gtest.h>)
    if(CMAKE_BUILD_TYPE STREQUAL "Release")
      target_compile_options(quaver_${name}_test PRIVATE -O1)  # they are compiled more than run
    endif()
    target_compile_definitions(quaver_${name}_test PRIVATE
      QUAVER_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
    target_link_libraries(quaver_${name}_test PRIVATE quaver_${name} ${LAYER_TEST_LIBS} GTest::gtest GTest::gtest_main)
    add_test(NAME ${name} COMMAND quaver_${name}_test)
  endif()
endfunction()
