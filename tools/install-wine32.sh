#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Puts what 64-bit Wine lacks to run 32-bit programs into build/wine32: install-wine32.sh
#
# Debian's Wine for amd64 has the unix side and the thunks for that, but the 32-bit libraries only in a package for
# i386. That package is fetched with lists of its own and unpacked, not installed: the machine stays one without a
# foreign architecture. Silent and instant when the version that is there is the installed Wine's.
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 2
target=build/wine32
libraries=(ntdll kernel32 kernelbase msvcrt setupapi advapi32 sechost ucrtbase version rpcrt4)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "install-wine32: this is not a Debian system; the x86 selftest needs 32-bit Wine libraries in $target" >&2
	exit 0
fi
version=$(dpkg-query -W -f '${Version}' libwine:amd64 2>/dev/null)
if [[ -z $version ]]; then
	echo "install-wine32: there is no Wine for amd64; tools/install-deps.sh test installs it" >&2
	exit 1
fi
[[ $(cat "$target/version" 2>/dev/null) != "$version" ]] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,cache,unpacked}/partial
touch "$work/status"
# As root, apt would otherwise give the directories to a user who may not get into them.
options=(-q -o Acquire::Retries=3 -o APT::Sandbox::User=root
	-o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=i386
	-o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache")
echo "install-wine32: fetching libwine $version for i386 (95 MB)"
for pause in ${AERO_APT_PAUSES:-0 10 30 60 120}; do
	if ((pause)); then
		echo "install-wine32: apt-get did not succeed ($reason); trying again in $pause s"
		sleep "$pause"
	fi
	apt-get "${options[@]}" update >"$work/log" 2>&1
	if (cd "$work" && apt-get "${options[@]}" download "libwine:i386=$version") >>"$work/log" 2>&1; then
		break
	fi
	reason=$(grep '^E: ' "$work/log" | tail -n 1)
done
package=("$work"/libwine_*_i386.deb)
if [[ ! -f ${package[0]} ]]; then
	tail -n 5 "$work/log" >&2
	echo "install-wine32: libwine $version for i386 could not be had" >&2
	exit 1
fi
files=("${libraries[@]/#/./usr/lib/i386-linux-gnu/wine/i386-windows/}")
if ! dpkg-deb --fsys-tarfile "${package[0]}" | tar -x -C "$work/unpacked" "${files[@]/%/.dll}"; then
	echo "install-wine32: the package has not the libraries that are needed" >&2
	exit 1
fi
rm -rf "$target"
mkdir -p "$target"
cp -r "$work/unpacked/usr/lib/i386-linux-gnu/wine/i386-windows" "$target"
echo "$version" >"$target/version"
