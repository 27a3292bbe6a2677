# SPDX-License-Identifier: MIT OR Apache-2.0
# How a Windows 7 kernel driver is compiled, linked and staged. Two builds in different places give identical bytes.

# CodeView without anything of the build machine in it: sources and objects are named relative to the project.
# The target is named here and not as CMAKE_C_COMPILER_TARGET: CMake takes clang for a kind of MSVC if it learns of the
# target too early, and then asks it for no header dependencies.
set(AERO_WDK_COMPILE
    --target=${AERO_WDK_TARGET} -std=gnu89 -ffreestanding -fno-stack-protector -fms-extensions ${AERO_WDK_CODEGEN}
    -g -gcodeview -gno-codeview-command-line -fdebug-compilation-dir=. -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=
    -Wall -Wextra -Wdeclaration-after-statement -Werror $<$<CONFIG:fre>:-flto>)
set(AERO_WDK_LINK
    /driver /subsystem:native,6.01 /osversion:6.1 /entry:DriverEntry /nodefaultlib /machine:${AERO_WDK_LINK_MACHINE}
    /release /debug /pdbaltpath:%_PDB% /pdbsourcepath:. /Brepro /tsaware:no /section:INIT,ERD)
list(JOIN AERO_WDK_LINK " " AERO_WDK_LINK)
# A free driver is optimized as a whole. Its ring's functions are a little above what the linker would inline by itself.
set(AERO_WDK_LINK_FRE /mllvm:-inline-threshold=300)

# An import library for each module that wdk7/lib describes: wdk7_<module>.
set(_imports "")
file(GLOB _defs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/wdk7/lib/${AERO_WDK_ARCH}/*.def)
foreach(_def ${_defs})
    cmake_path(GET _def STEM _module)
    add_custom_command(
        OUTPUT ${_module}.lib
        COMMAND ${AERO_DLLTOOL} ${AERO_WDK_DLLTOOL_FLAGS} -d ${_def} -l ${_module}.lib
        DEPENDS ${_def}
        VERBATIM)
    list(APPEND _imports ${CMAKE_BINARY_DIR}/${_module}.lib)
endforeach()
add_custom_target(wdk7_import_libraries DEPENDS ${_imports})
set(AERO_WDK_IMPORTS ${_imports})

# aero_add_driver(<target> NAME <file stem> SUBDIR <below the staging directory, may be empty> RESOURCE <.rc>
#                 SOURCES … INCLUDES … [DEFINES …])
function(aero_add_driver target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "NAME;SUBDIR;RESOURCE" "SOURCES;INCLUDES;DEFINES")

    set(built ${CMAKE_CURRENT_BINARY_DIR}/${target})
    set(definitions ${arg_DEFINES} DBG=$<IF:$<CONFIG:chk>,1,0>)
    # After "--" a path is a path: llvm-rc reads a file below /c… as its option /c.
    add_custom_command(
        OUTPUT ${target}.res
        COMMAND ${AERO_RC} /nologo "/I$<JOIN:${arg_INCLUDES},;/I>" "/D$<JOIN:${definitions},;/D>"
                /FO ${CMAKE_CURRENT_BINARY_DIR}/${target}.res -- ${arg_RESOURCE}
        DEPENDS ${arg_RESOURCE} ${AERO_VERSION_HEADER}
        COMMAND_EXPAND_LISTS VERBATIM)
    # A target of its own, because Ninja would otherwise not know the resource when it links by name.
    add_custom_target(${target}_resource DEPENDS ${target}.res)

    add_executable(${target} ${arg_SOURCES})
    add_dependencies(${target} ${target}_resource wdk7_import_libraries)
    target_include_directories(${target} PRIVATE ${arg_INCLUDES})
    target_compile_definitions(${target} PRIVATE ${arg_DEFINES})
    target_compile_options(${target} PRIVATE ${AERO_WDK_COMPILE})
    # What code generation itself calls has to be code already when the whole is optimized.
    set_source_files_properties(${CMAKE_SOURCE_DIR}/wdk7/lib/memory.c PROPERTIES COMPILE_OPTIONS -fno-lto)
    target_link_libraries(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/${target}.res ${AERO_WDK_IMPORTS})
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${arg_NAME}
        SUFFIX .sys
        RUNTIME_OUTPUT_DIRECTORY ${built}
        LINK_FLAGS "${AERO_WDK_LINK}"
        LINK_FLAGS_FRE ${AERO_WDK_LINK_FRE}
        LINK_DEPENDS "${CMAKE_CURRENT_BINARY_DIR}/${target}.res;${AERO_WDK_IMPORTS}")

    cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE where)
    cmake_path(SET stage NORMALIZE ${AERO_OUT}/${where}/${AERO_WDK_ARCH}/${arg_SUBDIR})
    add_custom_command(
        OUTPUT ${stage}/${arg_NAME}.sys ${stage}/${arg_NAME}.pdb
        COMMAND ${CMAKE_COMMAND} -E make_directory ${stage}
        COMMAND ${CMAKE_COMMAND} -E copy ${built}/${arg_NAME}.sys ${built}/${arg_NAME}.pdb ${stage}
        DEPENDS ${target}
        VERBATIM)
    add_custom_target(${target}_stage ALL DEPENDS ${stage}/${arg_NAME}.sys ${stage}/${arg_NAME}.pdb)
endfunction()
