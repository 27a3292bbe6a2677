# SPDX-License-Identifier: MIT OR Apache-2.0
# What both Windows 7 toolchain files share: clang compiles, lld-link links, nothing of a C runtime is ever looked for.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

find_program(CMAKE_C_COMPILER clang-19 REQUIRED)
find_program(CMAKE_LINKER lld-link-19 REQUIRED)
find_program(CMAKE_AR llvm-ar-19 REQUIRED)
find_program(CMAKE_RANLIB llvm-ranlib-19 REQUIRED)
find_program(AERO_DLLTOOL llvm-dlltool-19 REQUIRED)
find_program(AERO_RC llvm-rc-19 REQUIRED)

# Free and checked, in the WDK's words. Checked is optimized a little, so that kernel stacks stay small.
set(CMAKE_C_FLAGS_FRE_INIT "-O2 -DDBG=0")
set(CMAKE_C_FLAGS_CHK_INIT "-O1 -DDBG=1")

set(CMAKE_C_LINK_EXECUTABLE "<CMAKE_LINKER> /nologo /out:<TARGET> <LINK_FLAGS> <OBJECTS> <LINK_LIBRARIES>")
