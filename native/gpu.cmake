# The library `gpu`: each GPU backend where its compiler is, elsewhere the stub that stands in for it.
add_library(gpu STATIC)
target_include_directories(gpu PRIVATE ${native})

if(APPLE)
  read_sources(metal metal_sources)
  find_program(NODE node REQUIRED)
  file(GLOB shaders CONFIGURE_DEPENDS ${native}/metal/*.metal ${native}/metal/*.h ${native}/*.h)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/metal)
  set(embed_shaders ${native}/metal/embed_shaders.mjs)
  add_custom_command(
    OUTPUT ${generated}/metal_source.h
    COMMAND ${NODE} ${embed_shaders} ${generated}/metal_source.h
    DEPENDS ${embed_shaders} ${shaders} VERBATIM)
  target_sources(gpu PRIVATE ${metal_sources} ${generated}/metal_source.h)
  target_include_directories(gpu PRIVATE ${generated})
  # Without CoreGraphics a program of the command line finds no device.
  target_link_libraries(gpu PUBLIC
    "-framework Metal" "-framework Foundation" "-framework CoreGraphics" objc)
else()
  read_sources(no_metal metal_sources)
  target_sources(gpu PRIVATE ${metal_sources})
endif()

# Puts the object files of .cu files into the variable `objects`, by calling nvcc: CMake's own CUDA
# language knows only the standards of the compilers of its time.
set(OPENELM_CUDA_ARCHITECTURES native CACHE STRING "What nvcc's -arch takes; or all, which ships")
function(add_cuda_objects objects)
  set(target -arch=${OPENELM_CUDA_ARCHITECTURES})
  if(OPENELM_CUDA_ARCHITECTURES STREQUAL all)
    set(target --options-file ${native}/cuda/all_architectures.txt)
  elseif(OPENELM_CUDA_ARCHITECTURES STREQUAL native)
    # Without a GPU nvcc would say so for every file, and compile for the oldest.
    execute_process(COMMAND ${cuda_home}/bin/__nvcc_device_query
      RESULT_VARIABLE has_no_gpu OUTPUT_QUIET ERROR_QUIET)
    if(has_no_gpu)
      set(target -arch=sm_75)
    endif()
  endif()
  foreach(source ${ARGN})
    get_filename_component(name ${source} NAME)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${NVCC} --options-file ${native}/cuda/nvcc_flags.txt ${target}
        -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND result ${object})
  endforeach()
  set(${objects} ${result} PARENT_SCOPE)
endfunction()

if(NVCC)
  execute_process(COMMAND ${NVCC} --dryrun -x cu -c nothing.cu ERROR_VARIABLE nvcc_dryrun)
  string(REGEX MATCH "_HERE_=([^\n]+)/bin" found "${nvcc_dryrun}")
  set(cuda_home ${CMAKE_MATCH_1})
  find_path(CUDA_INCLUDE_DIR cuda_runtime.h HINTS ${cuda_home}/include REQUIRED)
  find_library(CUDART_STATIC cudart_static HINTS ${cuda_home}/lib64 ${cuda_home}/lib REQUIRED)
  read_sources(cuda cuda_sources)
  set(cuda_kernels ${cuda_sources})
  list(FILTER cuda_kernels INCLUDE REGEX "\\.cu$")
  list(FILTER cuda_sources EXCLUDE REGEX "\\.cu$")
  add_cuda_objects(cuda_objects ${cuda_kernels})
  target_sources(gpu PRIVATE ${cuda_sources} ${cuda_objects})
  target_include_directories(gpu SYSTEM PUBLIC ${CUDA_INCLUDE_DIR})
  target_link_libraries(gpu PUBLIC ${CUDART_STATIC} Threads::Threads ${CMAKE_DL_LIBS} rt)
else()
  read_sources(no_cuda cuda_sources)
  target_sources(gpu PRIVATE ${cuda_sources})
endif()
