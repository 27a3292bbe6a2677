# SPDX-License-Identifier: MIT OR Apache-2.0
# How code for Linux is compiled, and how a unit test is declared.
option(AERO_SANITIZE "Build the unit tests, with ASan and UBSan, instead of the programs" OFF)

include(cmake/native.cmake)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
# Assertions stay in: a judge that is wrong about itself has to stop.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wshadow -Wstrict-prototypes -Werror)
if(AERO_SANITIZE)
    add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
endif()

if(AERO_NATIVE)
    add_compile_options(-g ${AERO_NATIVE_FLAGS})
    add_link_options(${AERO_NATIVE_FLAGS})
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
# A 32-bit storhost, for x86 drivers, needs nothing but the C library.
if(CMAKE_SIZEOF_VOID_P EQUAL 8)
    find_package(zydis CONFIG REQUIRED)
    pkg_check_modules(NBDKIT REQUIRED IMPORTED_TARGET nbdkit)
endif()
if(AERO_SANITIZE OR AERO_NATIVE STREQUAL "cov")
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

# aero_add_unit_test(<name> SOURCES … [INCLUDES …] [DEFINES …] [LIBRARIES …])
function(aero_add_unit_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;INCLUDES;DEFINES;LIBRARIES")
    add_executable(${name} ${arg_SOURCES})
    target_include_directories(${name} PRIVATE ${arg_INCLUDES})
    target_compile_definitions(${name} PRIVATE ${arg_DEFINES})
    target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} PkgConfig::CMOCKA)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endfunction()
