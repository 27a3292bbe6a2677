# SPDX-License-Identifier: MIT OR Apache-2.0
# Toolchain: kernel-mode Windows 7 on x64.
set(AERO_WDK_ARCH x64)
set(CMAKE_SYSTEM_PROCESSOR AMD64)
set(AERO_WDK_TARGET x86_64-pc-windows-msvc)
set(AERO_WDK_CODEGEN -mno-red-zone)
set(AERO_WDK_LINK_MACHINE x64)
set(AERO_WDK_DLLTOOL_FLAGS -m i386:x86-64)
set(AERO_MINGW_PREFIX x86_64)
include(${CMAKE_CURRENT_LIST_DIR}/windows7.cmake)
