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

# ---- nvcc: the target cuda_kernels; it takes minutes, so nobody builds it unasked ---------------------------------------
find_program(EPSBALL_NVCC nvcc)
mark_as_advanced(EPSBALL_NVCC)
if(NOT EPSBALL_CUDA)
  set(cuda "left out: EPSBALL_CUDA is OFF")
elseif(EPSBALL_NVCC)
  list(TRANSFORM EPSBALL_CUDA_ARCHITECTURES PREPEND sm_ OUTPUT_VARIABLE targets)
  list(JOIN targets ", " targets)
  set(built "as target cuda_kernels (EPSBALL_CUDA is AUTO)")
  if(EPSBALL_CUDA STREQUAL "ON")
    set(built "as the module _cuda")
  endif()
  set(cuda "${EPSBALL_NVCC} for ${targets} and PTX, ${built}")
  set(nvcc_flags -std=c++20 -O3 -fmad=false # products and sums are fused where they say so
    -Werror all-warnings -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra)
  foreach(architecture IN LISTS EPSBALL_CUDA_ARCHITECTURES)
    list(APPEND nvcc_flags -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  list(GET EPSBALL_CUDA_ARCHITECTURES -1 newest)
  list(APPEND nvcc_flags -gencode arch=compute_${newest},code=compute_${newest})
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
  set(all)
  if(EPSBALL_CUDA STREQUAL "ON")
    set(all ALL)
  endif()
  add_custom_target(cuda_kernels ${all} DEPENDS ${cuda_objects})
  if(EPSBALL_CUDA STREQUAL "ON")
    set(CUDAToolkit_NVCC_EXECUTABLE ${EPSBALL_NVCC}) # it is asked where its libraries are: it may be a script
    find_package(CUDAToolkit REQUIRED)
    add_cuda_module(_cuda ${cuda_objects} CUDA::cudart_static)
    if(EPSBALL_PYTHON)
      install(TARGETS _cuda DESTINATION epsball COMPONENT python)
    endif()
  endif()
elseif(EPSBALL_CUDA STREQUAL "ON")
  message(FATAL_ERROR "EPSBALL_CUDA=ON: nvcc is not found; set EPSBALL_NVCC to it")
else()
  set(cuda "left out: nvcc is not found")
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
