# Sets METAL_SOURCES and METAL_INCLUDE_DIR, what the Metal backend is compiled from, and
# METAL_LIBRARIES, what it is linked with; the stub on anything but Apple's systems.
if(APPLE)
  find_program(NODE node REQUIRED)
  file(GLOB METAL_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
  list(REMOVE_ITEM METAL_SOURCES ${CMAKE_CURRENT_LIST_DIR}/no_metal.cc)
  file(GLOB shaders CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.metal ${CMAKE_CURRENT_LIST_DIR}/*.h)
  set(METAL_INCLUDE_DIR ${CMAKE_CURRENT_BINARY_DIR}/metal)
  set(embed_shaders ${CMAKE_CURRENT_LIST_DIR}/embed_shaders.mjs)
  add_custom_command(
    OUTPUT ${METAL_INCLUDE_DIR}/metal_source.h
    COMMAND ${NODE} ${embed_shaders} ${METAL_INCLUDE_DIR}/metal_source.h
    DEPENDS ${embed_shaders} ${shaders} ${CMAKE_CURRENT_LIST_DIR}/../kernel_args.h VERBATIM)
  list(APPEND METAL_SOURCES ${METAL_INCLUDE_DIR}/metal_source.h)
  set(METAL_LIBRARIES "-framework Metal" "-framework Foundation" objc)
else()
  set(METAL_SOURCES ${CMAKE_CURRENT_LIST_DIR}/no_metal.cc)
  set(METAL_INCLUDE_DIR)
  set(METAL_LIBRARIES)
endif()
