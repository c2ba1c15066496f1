# SPDX-License-Identifier: ISC
# What contrib/try and contrib/check share.  Sourced, with $top and $log set.

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# leave_nothing: calls clean_up, which the script defines, however it ends.
leave_nothing() {
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 141' PIPE
	trap 'exit 143' TERM
}

# root_shell COMMAND: as root, asking for a password on the terminal at most.
root_shell() {
	if [ "$(id -u)" -eq 0 ]; then
		env DEBIAN_FRONTEND=noninteractive sh -c "$1"
	else
		sudo env DEBIAN_FRONTEND=noninteractive sh -c "$1"
	fi
}

debian() {
	command -v dpkg-query >/dev/null 2>&1 &&
	    command -v apt-get >/dev/null 2>&1
}

# missing PACKAGE ...: prints those that are not installed.
missing() {
	for package; do
		status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) ||
		    status=
		[ "$status" = 'install ok installed' ] || printf ' %s' "$package"
	done
}

# need PACKAGE ...: installs the missing ones with apt-get, asking nothing.
need() {
	if ! debian; then
		say "This is no Debian system.  Needed, by their Debian names:"
		say "$*" | fold -s -w 72 | sed 's/^/    /'
		say "Going on in the hope that they are there."
		return 0
	fi
	packages=$(missing "$@")
	[ -n "$packages" ] || return 0
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
	    die "you are not root and there is no sudo; as root, do:
    apt-get install --no-install-recommends$packages"
	say "Installing:$packages" | fold -s -w 78
	root_shell "apt-get -qq update &&
	    apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends $packages" >"$log" 2>&1 </dev/null || {
		cat "$log" >&2
		die "could not install the packages"
	}
}

build_packages='autoconf automake make gcc libc6-dev pkg-config
    libgnutls28-dev libgsasl-dev libbsd-dev libxxhash-dev ca-certificates'

# What the tests run beside poplar; those whose program is missing are skipped.
test_packages='bats bats-assert bats-file bats-support clang-format
    dbus-daemon dovecot-pop3d expect faketime gdb gnome-keyring gnupg
    gnutls-bin libsecret-tools mailutils-pop3d maildrop mandoc mblaze
    microsocks mpop mutt openssl procmail procps python3-minimal socat softhsm2
    strace universal-ctags xz-utils'

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
