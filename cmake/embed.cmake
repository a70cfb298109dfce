# quaver_embed(TARGET NAME FILE): the bytes of FILE become part of TARGET, as the symbol
#   extern "C" const unsigned char NAME[];          // the first byte
#   extern "C" const unsigned char NAME_end[];      // one past the last
# FILE is relative to the calling CMakeLists.txt. A change of FILE rebuilds the object.
function(quaver_embed target name file)
  get_filename_component(path ${file} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.embed.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT [[
asm(R"(
  .section .rodata
  .balign 16
  .global @name@
@name@:
  .incbin "@path@"
  .global @name@_end
@name@_end:
  .byte 0
  .text
)");
]] @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${path})
  target_sources(${target} PRIVATE ${source})
endfunction()
