# SPDX-License-Identifier: MIT OR Apache-2.0
# Toolchain: kernel-mode Windows 7 on x86. Drivers may not touch the floating-point or vector state there.
set(AERO_WDK_ARCH x86)
set(CMAKE_SYSTEM_PROCESSOR x86)
set(AERO_WDK_TARGET i686-pc-windows-msvc)
set(AERO_WDK_CODEGEN -march=i686 -mno-sse -mno-mmx -mno-x87)
set(AERO_WDK_LINK_MACHINE x86)
set(AERO_WDK_DLLTOOL_FLAGS -m i386 -k)
set(AERO_MINGW_PREFIX i686)
set(AERO_PROGRAM_CODEGEN -march=i686)
# mingw-w64's import libraries do not say that they have no handlers. Frame data for debuggers is no section of its own.
set(AERO_PROGRAM_LINK /safeseh:no /merge:.debug_frame=.rdata)
include(${CMAKE_CURRENT_LIST_DIR}/windows7.cmake)
