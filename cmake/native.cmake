# SPDX-License-Identifier: MIT OR Apache-2.0
# The driver's own sources compiled for Linux and linked into storhost, for sanitizers, the fuzzer and coverage.
set(AERO_NATIVE "" CACHE STRING "What the driver is built with for Linux: asan, tsan or cov; empty: not at all")
set_property(CACHE AERO_NATIVE PROPERTY STRINGS "" asan tsan cov)

# Of storhost and the driver. A .sys has no signatures of functions to compare, and Windows's structures lie as they lie.
set(_flags_asan -fsanitize=address,undefined -fno-sanitize=function,alignment
                -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
set(_flags_tsan -fsanitize=thread -fno-omit-frame-pointer)
set(_flags_cov "")
set(AERO_NATIVE_FLAGS ${_flags_${AERO_NATIVE}})
# Of the driver alone, and of the program that it is in.
set(AERO_NATIVE_DRIVER_FLAGS "")
set(AERO_NATIVE_LINK "")
set(AERO_NATIVE_CHECKED 1)
if(AERO_NATIVE STREQUAL "cov")
    # What ships is measured: a checked build has branches that only a failed assertion takes.
    set(AERO_NATIVE_CHECKED 0)
    set(AERO_NATIVE_DRIVER_FLAGS -fprofile-instr-generate -fcoverage-mapping -O0)
    set(AERO_NATIVE_LINK -fprofile-instr-generate -Wl,--wrap=_exit)
elseif(AERO_NATIVE STREQUAL "tsan")
    # What is volatile in the driver is shared without a lock, by design; nothing else is (native/volatile.c).
    set(AERO_NATIVE_DRIVER_FLAGS "SHELL:-mllvm -tsan-distinguish-volatile")
elseif(AERO_NATIVE STREQUAL "asan")
    # The fuzzer looks for new paths in what it fuzzes, not in the machine around it.
    set(AERO_NATIVE_FUZZED -fsanitize=fuzzer-no-link)
    set(AERO_NATIVE_DRIVER_FLAGS ${AERO_NATIVE_FUZZED})
    set(AERO_NATIVE_LINK -Wl,--wrap=swapcontext -Wl,--wrap=makecontext)
endif()

# aero_add_native_driver(<target> NAME <as findings name it> SOURCES … INCLUDES …): an object library.
function(aero_add_native_driver target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "NAME" "SOURCES;INCLUDES")
    add_library(${target} OBJECT ${arg_SOURCES})
    target_include_directories(${target} BEFORE PRIVATE
        ${CMAKE_SOURCE_DIR}/storhost/native/platform ${arg_INCLUDES} ${CMAKE_SOURCE_DIR}/storhost)
    target_compile_definitions(${target}
        PRIVATE DBG=${AERO_NATIVE_CHECKED}
        INTERFACE STORHOST_NATIVE_NAME="${arg_NAME}" DBG=${AERO_NATIVE_CHECKED})
    target_compile_options(${target} PRIVATE
        -fms-extensions -fshort-wchar -include ${CMAKE_SOURCE_DIR}/storhost/native/section.h
        ${AERO_NATIVE_DRIVER_FLAGS})
    target_link_options(${target} INTERFACE ${AERO_NATIVE_LINK})
endfunction()
