#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Compiles the layout table in both views: as a driver for Windows (clang), as storhost for Linux (gcc), 32 and 64 bits.
#
# usage: check_abi.sh        environment: CLANG (clang-19), CC (gcc)

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
clang=${CLANG:-clang-19}
cc=${CC:-gcc}
status=0

check() {
	name=$1
	shift
	if "$@" -Wall -Wextra -Werror -fsyntax-only -I "$here/../include" "$here/abi_layout.c"; then
		echo "ok    $name"
	else
		echo "FAIL  $name"
		status=1
	fi
}

windows="-std=gnu89 -ffreestanding -fms-extensions -Wdeclaration-after-statement"
linux="-std=gnu11 -DSTORPORT_HOST -Wshadow -Wstrict-prototypes"

# CC and CLANG may carry arguments of their own.
# shellcheck disable=SC2086
{
	check "driver, x64" $clang --target=x86_64-pc-windows-msvc $windows
	check "driver, x86" $clang --target=i686-pc-windows-msvc -march=i686 -mno-sse -mno-mmx -mno-x87 $windows
	check "host, x86-64" $cc -m64 $linux
	check "host, i386" $cc -m32 $linux
}
exit $status
