# What `cmake --install` gives: bin/quaver, one static library of all layers, the public headers,
# and the files by which find_package(quaver) and pkg-config find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(layers GLOBAL PROPERTY QUAVER_LAYERS)
get_property(libraries GLOBAL PROPERTY QUAVER_LIBS)
list(REMOVE_DUPLICATES layers)
list(REMOVE_DUPLICATES libraries)

set(objects)
foreach(layer ${layers})
  list(APPEND objects $<TARGET_OBJECTS:${layer}>)
endforeach()
add_library(quaver_library STATIC ${objects})
add_library(quaver::quaver ALIAS quaver_library)
set_target_properties(quaver_library PROPERTIES
  OUTPUT_NAME quaver EXPORT_NAME quaver LINKER_LANGUAGE CXX)
target_compile_features(quaver_library INTERFACE cxx_std_20)
target_include_directories(quaver_library INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# What a program that links libquaver.a must link too. Header-only libraries drop out; an imported
# target becomes the name of its library, so that the user needs no package but the library's own.
set(QUAVER_PC_LIBS)
foreach(library ${libraries})
  if(library STREQUAL "Threads::Threads")
    target_link_libraries(quaver_library INTERFACE Threads::Threads)
    list(APPEND QUAVER_PC_LIBS -pthread)
    continue()
  elseif(library MATCHES "^nlohmann_json")
    continue()
  endif()
  set(name ${library})
  if(TARGET ${library})
    get_target_property(type ${library} TYPE)
    if(type STREQUAL "INTERFACE_LIBRARY")  # a pkg-config module
      get_target_property(name ${library} INTERFACE_LINK_LIBRARIES)
    else()
      get_target_property(name ${library} LOCATION)
    endif()
  endif()
  foreach(file ${name})
    get_filename_component(file ${file} NAME)
    string(REGEX REPLACE "^-l" "" file ${file})
    string(REGEX REPLACE "^lib([^/]*)\\.(so|a)[.0-9]*$" "\\1" file ${file})
    target_link_libraries(quaver_library INTERFACE ${file})
    list(APPEND QUAVER_PC_LIBS -l${file})
  endforeach()
endforeach()
list(JOIN QUAVER_PC_LIBS " " QUAVER_PC_LIBS)

# For programs with model families of their own: the headers of the layers that a family sees.
add_library(quaver_extend INTERFACE)
add_library(quaver::extend ALIAS quaver_extend)
set_target_properties(quaver_extend PROPERTIES EXPORT_NAME extend)
set(extend_directory ${CMAKE_INSTALL_INCLUDEDIR}/quaver/extend/internal)
target_include_directories(quaver_extend INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:${extend_directory}>)
target_link_libraries(quaver_extend INTERFACE quaver_library nlohmann_json::nlohmann_json)
foreach(layer core formats kernels ops nn models)
  install(DIRECTORY src/${layer} DESTINATION ${extend_directory} FILES_MATCHING PATTERN "*.h"
    PATTERN "*_test.h" EXCLUDE)
endforeach()

set(package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/quaver)
install(TARGETS quaver_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS quaver_library quaver_extend EXPORT quaverTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/quaver DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT quaverTargets NAMESPACE quaver:: DESTINATION ${package_directory})

configure_package_config_file(cmake/quaverConfig.cmake.in
  ${PROJECT_BINARY_DIR}/quaverConfig.cmake INSTALL_DESTINATION ${package_directory})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/quaverConfigVersion.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH QUAVER_PC_PREFIX
  /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" QUAVER_PC_PREFIX ${QUAVER_PC_PREFIX})
configure_file(cmake/quaver.pc.in ${PROJECT_BINARY_DIR}/quaver.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/quaverConfig.cmake ${PROJECT_BINARY_DIR}/quaverConfigVersion.cmake
  DESTINATION ${package_directory})
configure_file(cmake/quaver-extend.pc.in ${PROJECT_BINARY_DIR}/quaver-extend.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/quaver.pc ${PROJECT_BINARY_DIR}/quaver-extend.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
