# The GPU's kernels: compiled by nvcc where it is found, and by the host's compiler against the emulator for the tests.

file(GLOB cuda_sources CONFIGURE_DEPENDS cuda/*.cu)

# The Python module `name` over kernels that `libraries` hold; build trees without Python have none.
function(add_cuda_module name)
  if(EPSBALL_PYTHON)
    pybind11_add_module(${name} MODULE NO_EXTRAS python/bindings/cuda/module.cpp)
    target_include_directories(${name} PRIVATE src cuda)
    target_compile_definitions(${name} PRIVATE EPSBALL_CUDA_MODULE=${name} EPSBALL_VERSION="${PROJECT_VERSION}")
    target_link_libraries(${name} PRIVATE ${ARGN})
    if(CMAKE_SYSTEM_NAME STREQUAL Linux)
      target_link_options(${name} PRIVATE "LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map")
    endif()
  endif()
endfunction()

# ---- nvcc: the target cuda_kernels, and of it the module _cuda ----------------------------------------------------------
find_program(EPSBALL_NVCC nvcc)
mark_as_advanced(EPSBALL_NVCC)

set(nvcc_flags -std=c++20 -O3 -fmad=false # products and sums are fused where they say so
  -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra)
if(EPSBALL_WERROR)
  list(APPEND nvcc_flags -Werror all-warnings)
endif()
foreach(architecture IN LISTS EPSBALL_CUDA_ARCHITECTURES)
  list(APPEND nvcc_flags -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
list(GET EPSBALL_CUDA_ARCHITECTURES -1 newest)
list(APPEND nvcc_flags -gencode arch=compute_${newest},code=compute_${newest})

# Why the kernels cannot be built, or nothing: an nvcc too old for C++20, or for this compiler, is found out by asking it.
function(ask_nvcc result)
  set(probe ${CMAKE_CURRENT_BINARY_DIR}/cuda/probe)
  file(WRITE ${probe}.cu "#include <concepts>\n__global__ void probe(float* x) { *x = 1.0f; }\n")
  execute_process(COMMAND ${EPSBALL_NVCC} ${nvcc_flags} -c ${probe}.cu -o ${probe}.o
    RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE said)
  set(reason)
  if(failed)
    string(STRIP "${said}" said)
    string(REGEX REPLACE "\n.*" "" said "${said}")
    set(reason "${EPSBALL_NVCC} does not compile for it: ${said}")
  elseif(EPSBALL_PYTHON)
    set(CUDAToolkit_NVCC_EXECUTABLE ${EPSBALL_NVCC}) # it is asked where its libraries are: it may be a script
    find_package(CUDAToolkit QUIET)
    if(NOT TARGET CUDA::cudart_static)
      set(reason "${EPSBALL_NVCC} comes without libcudart_static")
    endif()
  endif()
  set(${result} "${reason}" PARENT_SCOPE)
endfunction()

set(without_cuda)
if(NOT EPSBALL_CUDA)
  set(without_cuda "EPSBALL_CUDA is OFF")
elseif(NOT EPSBALL_NVCC)
  set(without_cuda "nvcc is not found")
else()
  ask_nvcc(without_cuda)
endif()

if(without_cuda AND EPSBALL_CUDA STREQUAL "ON")
  message(FATAL_ERROR "EPSBALL_CUDA=ON: ${without_cuda}; EPSBALL_NVCC says which nvcc to take")
elseif(without_cuda)
  set(cuda "left out: ${without_cuda}")
else()
  list(TRANSFORM EPSBALL_CUDA_ARCHITECTURES PREPEND sm_ OUTPUT_VARIABLE targets)
  list(JOIN targets ", " targets)
  foreach(source IN LISTS cuda_sources)
    cmake_path(GET source STEM name)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory cuda
      COMMAND ${EPSBALL_NVCC} ${nvcc_flags} -I${CMAKE_CURRENT_SOURCE_DIR} -I${CMAKE_CURRENT_SOURCE_DIR}/src
        -I${CMAKE_CURRENT_SOURCE_DIR}/cuda -MD -MT ${object} -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND cuda_objects ${object})
  endforeach()
  add_custom_target(cuda_kernels DEPENDS ${cuda_objects})
  set(cuda "${EPSBALL_NVCC} for ${targets} and PTX, as target cuda_kernels")
  if(EPSBALL_PYTHON)
    add_cuda_module(_cuda ${cuda_objects} CUDA::cudart_static)
    install(TARGETS _cuda DESTINATION epsball COMPONENT python)
    set(cuda "${EPSBALL_NVCC} for ${targets} and PTX, as the module _cuda")
  endif()
endif()

# ---- the emulator's table, never part of a wheel ---------------------------------------------------------------------
set(cuda_emulated "left out: EPSBALL_CUDA_EMULATED is OFF")
if(NOT EPSBALL_CUDA_EMULATED)
  return()
endif()
set(cuda_emulated "from the same files, for the tests")

# fmaf without the instruction is a call, and -O3 is slower here than -O2.
set(cuda_emulated_flags -O2 -g1)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  list(APPEND cuda_emulated_flags -march=x86-64-v3)
endif()

# A library or program of .cu files and host files, for the emulator.
function(emulate target)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cu$")
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
  target_include_directories(${target} PRIVATE . src cuda)
  target_compile_options(${target} PRIVATE ${cuda_emulated_flags})
endfunction()

file(GLOB emulator_sources CONFIGURE_DEPENDS cuda/emulate/*.cpp)
add_library(epsball_cuda_emulated STATIC ${cuda_sources} ${emulator_sources})
emulate(epsball_cuda_emulated)
# Kernels are instrumented, who switches between their threads is not: it tells the sanitizers itself.
set_source_files_properties(${emulator_sources} PROPERTIES COMPILE_OPTIONS -fno-sanitize=all)

add_cuda_module(_cuda_emulated epsball_cuda_emulated)
if(EPSBALL_PYTHON)
  target_sources(_cuda_emulated PRIVATE python/bindings/cuda/bind_emulator.cpp)
  target_compile_definitions(_cuda_emulated PRIVATE EPSBALL_EMULATED)
endif()

if(NOT EPSBALL_BUILD_TESTS)
  return()
endif()

# The planted bugs, in this build's manner; an unsanitized build also has them under both sanitizers.
set(planted_variants plain)
if(EPSBALL_SANITIZE MATCHES "address|thread")
  set(planted_variants ${CMAKE_MATCH_0})
elseif(NOT EPSBALL_SANITIZE AND NOT CMAKE_CROSSCOMPILING) # QEMU runs neither
  list(APPEND planted_variants address thread)
endif()
foreach(variant IN LISTS planted_variants)
  add_executable(planted_${variant} tests/cuda/planted.cu)
  emulate(planted_${variant})
  target_link_libraries(planted_${variant} PRIVATE epsball_cuda_emulated)
  if(variant STREQUAL "plain") # the emulator's own guards are to find it, not UndefinedBehaviorSanitizer
    target_compile_options(planted_plain PRIVATE -fno-sanitize=all)
  endif()
  if(variant STREQUAL "address") # AddressSanitizer is, where a build has both
    target_compile_options(planted_address PRIVATE -fno-sanitize=undefined)
  endif()
  if(NOT variant STREQUAL "plain" AND NOT EPSBALL_SANITIZE)
    target_compile_options(planted_${variant} PRIVATE -fsanitize=${variant} -fno-omit-frame-pointer)
    target_link_options(planted_${variant} PRIVATE -fsanitize=${variant})
  endif()
  string(TOUPPER ${variant} VARIANT)
  list(APPEND planted_definitions PLANTED_${VARIANT}="$<TARGET_FILE:planted_${variant}>")
  list(APPEND planted_targets planted_${variant})
endforeach()

file(GLOB cuda_test_sources CONFIGURE_DEPENDS tests/cuda/test_*.cpp)
foreach(source IN LISTS cuda_test_sources)
  cmake_path(GET source STEM name)
  string(REPLACE test_ test_cuda_ name ${name}) # tests/cpp has the names without
  add_executable(${name} ${source})
  emulate(${name})
  target_include_directories(${name} PRIVATE tests/cpp)
  target_link_libraries(${name} PRIVATE epsball_cuda_emulated epsball_engine)
  target_compile_definitions(${name} PRIVATE ${planted_definitions})
  add_dependencies(${name} ${planted_targets})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 LABELS cuda ENVIRONMENT "TSAN_OPTIONS=atexit_sleep_ms=0")
  list(APPEND cuda_tests ${name})
endforeach()
add_custom_target(cuda_tests DEPENDS ${cuda_tests})
