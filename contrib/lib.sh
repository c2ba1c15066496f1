# SPDX-License-Identifier: ISC
# What contrib/try and contrib/check share.  Sourced, with $top set.

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		die "needs root or sudo for: $*"
	fi
}

# need PACKAGE ...: installs the missing ones with apt-get, asking nothing.
need() {
	missing=
	if ! command -v dpkg-query >/dev/null 2>&1 ||
	    ! command -v apt-get >/dev/null 2>&1; then
		say "This is no Debian system.  Needed, by their Debian names:"
		say "  $*"
		say "Going on in the hope that they are there."
		return 0
	fi
	for package; do
		status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) ||
		    status=
		[ "$status" = 'install ok installed' ] ||
		    missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	say "Installing:$missing"
	as_root env DEBIAN_FRONTEND=noninteractive sh -c "
		apt-get -qq update &&
		apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends $missing
	" >"$log" 2>&1 </dev/null || {
		cat "$log" >&2
		die "could not install the packages"
	}
}

build_packages='autoconf automake make gcc libc6-dev pkg-config
    libgnutls28-dev libbsd-dev libxxhash-dev ca-certificates'

# configure_in DIR [ARGUMENT ...]: out of the tree, quietly.
configure_in() {
	dir=$1
	shift
	mkdir -p "$dir"
	[ -x "$top/configure" ] || (cd "$top" && autoreconf -i) >"$log" 2>&1 || {
		cat "$log" >&2
		die "autoreconf failed"
	}
	(cd "$dir" && "$top/configure" --quiet "$@") >"$log" 2>&1 || {
		cat "$log" >&2
		die "configure failed"
	}
}

# make_in DIR [TARGET ...]
make_in() {
	dir=$1
	shift
	make -s -C "$dir" -j "$(nproc 2>/dev/null || echo 2)" "$@"
}
