# Compiles .cu files by calling nvcc: CMake's own CUDA language knows only the standards of the compilers
# of its time. Sets CUDA_INCLUDE_DIR and CUDA_RUNTIME, the static runtime and what it needs.
find_program(NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin REQUIRED)
execute_process(COMMAND ${NVCC} --dryrun -x cu -c nothing.cu ERROR_VARIABLE nvcc_dryrun)
string(REGEX MATCH "_HERE_=([^\n]+)/bin" found "${nvcc_dryrun}")
set(cuda_home ${CMAKE_MATCH_1})
find_path(CUDA_INCLUDE_DIR cuda_runtime.h HINTS ${cuda_home}/include REQUIRED)
find_library(CUDART_STATIC cudart_static HINTS ${cuda_home}/lib64 ${cuda_home}/lib REQUIRED)
find_package(Threads REQUIRED)
set(CUDA_RUNTIME ${CUDART_STATIC} Threads::Threads ${CMAKE_DL_LIBS})
if(UNIX AND NOT APPLE)
  list(APPEND CUDA_RUNTIME rt)
endif()

execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE nvcc_version)
string(REGEX MATCH "release ([0-9.]+)" found "${nvcc_version}")
if(CMAKE_MATCH_1 VERSION_GREATER_EQUAL 12.8)
  set(compression --compress-mode=size)
endif()

# What ships: code for every architecture since Turing, and Hopper's PTX for those to come.
set(OPENELM_CUDA_ARCHITECTURES 75 80 86 89 90 100 120 CACHE STRING "Compute capabilities")

# Puts the object files of the given sources into the variable `objects`.
function(add_cuda_objects objects)
  set(targets ${compression} -gencode arch=compute_90,code=compute_90)
  foreach(architecture ${OPENELM_CUDA_ARCHITECTURES})
    list(APPEND targets -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  foreach(source ${ARGN})
    get_filename_component(name ${source} NAME)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${NVCC} -std=c++20 -O3 -Xcompiler -fPIC,-fvisibility=hidden ${targets}
        -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND result ${object})
  endforeach()
  set(${objects} ${result} PARENT_SCOPE)
endfunction()
