#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs through apt whichever Debian packages are missing: install-deps.sh [build|run|guest|test]
# Or unpacks packages without installing them: install-deps.sh unpack DIRECTORY PACKAGE...
#
# Silent and instant when nothing is missing. Anywhere but on Debian and its kin it says so once and leaves the
# machine alone: the compilers then complain for themselves.
set -u
export LC_ALL=C

build=(cmake ninja-build clang-19 lld-19 llvm-19 mingw-w64-x86-64-dev mingw-w64-i686-dev gcc libc6-dev gcc-multilib
       pkg-config python3 libzydis-dev nbdkit-plugin-dev libnbd-dev libssl-dev ntfs-3g-dev)
run=("${build[@]}" nbdkit libnbd-bin python3-libnbd ntfs-3g)
guest=("${build[@]}" qemu-system-x86 cpio binutils)
test=("${run[@]}" git libcmocka-dev libclang-rt-19-dev fio clang-format-19 python3-pytest wine wine64 sg3-utils
      libiscsi-bin smartmontools qemu-utils qemu-system-common qemu-system-x86 cpio binutils)

case "${1:-test}" in
build) wanted=("${build[@]}") ;;
run) wanted=("${run[@]}") ;;
guest) wanted=("${guest[@]}") ;;
test) wanted=("${test[@]}") ;;
unpack) wanted=() ;;
*) echo "usage: ${0##*/} [build|run|guest|test], or unpack DIRECTORY PACKAGE..." >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "install-deps: this is not a Debian system; taking it that these are installed: ${wanted[*]}" >&2
	exit 0
fi

# Fills missing[] with those of the arguments that are not installed.
find_missing() {
	local installed package
	installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		awk '$1 == "installed" { printf "%s ", $2 }')"
	missing=()
	for package in "$@"; do
		[[ $installed == *" $package "* ]] || missing+=("$package")
	done
}

if [[ ${1:-} == unpack ]]; then
	target=${2:?} packages=("${@:3}") missing=()
	[[ $(cat "$target/.unpacked" 2>/dev/null) != "${packages[*]}" ]] || exit 0
else
	find_missing "${wanted[@]}"
	((${#missing[@]})) || exit 0
fi

root=()
if ((EUID != 0)) && [[ ${1:-} != unpack ]]; then
	if ! command -v sudo >/dev/null; then
		echo "install-deps: missing packages, and neither root nor sudo to install them. As root, please type:" >&2
		echo "    apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	root=(sudo)
fi

apt() {
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"
}

# A name that only stands for the newest of several packages, as that one.
real_name() {
	apt-cache depends "$1" 2>/dev/null | awk -v name="$1" '
		/^ *Depends: / && $2 ~ /^linux-image-[0-9]/ && !found { found = $2 }
		END { print (name ~ /^linux-image-/ && found) ? found : name }'
}

unpack_all() {
	local downloads package
	downloads=$(mktemp -d) && rm -rf "$target" && mkdir -p "$target" || return 1
	for package in "${packages[@]}"; do
		(cd "$downloads" && apt-get -q download "$(real_name "$package")") || return 1
	done
	for package in "$downloads"/*.deb; do
		dpkg-deb -x "$package" "$target" || return 1
	done
	rm -rf "$downloads"
	echo "${packages[*]}" >"$target/.unpacked"
}

if [[ ${1:-} == unpack ]]; then
	((EUID == 0)) || ! command -v sudo >/dev/null || root=(sudo)
	for pause in ${AERO_APT_PAUSES:-0 10 30}; do
		sleep "$pause"
		! unpack_all >/dev/null || exit 0
		apt update >/dev/null
	done
	echo "install-deps: could not be had: ${packages[*]}" >&2
	exit 1
fi

# Names, of the missing packages, those that the package lists do not have.
unknown_packages() {
	local package
	for package in "${missing[@]}"; do
		apt-cache policy "$package" 2>/dev/null | grep -q '^  Candidate: [^(]' || echo "$package"
	done
}

# smartmontools brings a daemon that nobody asked for: it is not started, now or with the machine.
policy=/usr/sbin/policy-rc.d
[[ ! -e $policy ]] || policy=
quiet=
[[ " ${missing[*]} " != *" smartmontools "* ]] || quiet=smartmontools
tidy_up() {
	[[ -z $policy ]] || "${root[@]}" rm -f "$policy"
	[[ -z $quiet || ! -e /etc/init.d/$quiet ]] || "${root[@]}" update-rc.d "$quiet" disable >/dev/null 2>&1
	rm -f "$log"
}
log=$(mktemp)
trap tidy_up EXIT
[[ -z $policy ]] || printf '#!/bin/sh\nexit 101\n' | "${root[@]}" install -m 755 /dev/stdin "$policy"
echo "install-deps: installing ${#missing[@]} Debian packages: ${missing[*]}"

# A mirror in the middle of an update serves lists and packages that do not fit together; that passes.
for pause in ${AERO_APT_PAUSES:-0 10 30 60 120}; do
	if ((pause)); then
		echo "install-deps: apt-get did not succeed ($reason); trying again in $pause s"
		sleep "$pause"
	fi
	apt update >"$log" 2>&1 || echo "install-deps: apt-get update complained; going on with the lists it has"
	unknown=$(unknown_packages | xargs)
	if [[ -n $unknown ]]; then
		reason="the package lists do not have: $unknown"
		continue
	fi
	apt install --no-install-recommends "${missing[@]}" >"$log" 2>&1
	find_missing "${wanted[@]}"
	if ((${#missing[@]} == 0)); then
		echo "install-deps: done"
		exit 0
	fi
	reason=$(grep -m1 '^E: ' "$log" || echo "see below")
done

# One package that cannot be had must not hide behind the others.
if [[ -z $unknown ]]; then
	for package in "${missing[@]}"; do
		apt install --no-install-recommends "$package" >>"$log" 2>&1
	done
	find_missing "${wanted[@]}"
	((${#missing[@]})) || exit 0
fi
tail -n 15 "$log" >&2
echo "install-deps: could not be had: ${unknown:-${missing[*]}} ($reason)" >&2
exit 1
