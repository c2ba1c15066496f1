#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Where passwords come from, in which order, and that they stay there.

load lib
load dovecot

teardown() {
	stop_dovecot
}

setup() {
	poplar_setup
	message m1 one
	mkdir "$BATS_TEST_TMPDIR/bin" "$BATS_TEST_TMPDIR/credentials"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH
	export CREDENTIALS_DIRECTORY=$BATS_TEST_TMPDIR/credentials
	# No key ring but the one of a test.
	printf '#!/bin/sh\nexit 1\n' >"$BATS_TEST_TMPDIR/bin/secret-tool"
	chmod 755 "$BATS_TEST_TMPDIR/bin/secret-tool"
}

# Bounded, and without a terminal to ask on.
run_alone() {
	command -v setsid >/dev/null || skip "setsid is not installed"
	run --separate-stderr setsid -w timeout -k 5 60 "$POPLAR" "$@" \
	    </dev/null
}

credential() {
	cat >"$CREDENTIALS_DIRECTORY/$1"
}

netrc() {
	cat >"$HOME/.netrc"
	chmod "${1:-600}" "$HOME/.netrc"
}

# A stand-in for secret-tool, which needs a desktop: it answers as that does
# and knows one password, stored as mpop's manual says.
key_ring() {
	cat >"$BATS_TEST_TMPDIR/bin/secret-tool" <<-X
		#!/bin/sh
		[ "\$*" = "lookup host 127.0.0.1 service pop3 user \${1:+alice}" ] ||
		    exit 1
		printf '%s' '$1'
	X
}

logged_in_with() {
	expect_exit 0
	sed 's/^[0-9]* //' "$LOG" | grep -qxF "C: PASS $1" || {
		cat "$LOG" >&2
		return 1
	}
	: >"$LOG"
	[[ $stderr != *"$1"* ]]
}

# refused CODE WORD ...: nobody was called, and the error has these words.
refused() {
	expect_exit "$1"
	shift
	says "login: " "$@"
	run grep connect "$LOG"
	assert_failure
}

@test "a credential of systemd, by the name of the account" {
	serve
	rc_without_password
	echo sesame | credential poplar.test
	run_alone -d
	logged_in_with sesame
	[[ $stderr == *'the password is from $CREDENTIALS_DIRECTORY'* ]]
}

@test "a credential is raw: one final newline goes, nothing else" {
	serve
	rc_without_password
	printf 'no newline' | credential poplar.test
	run_alone
	logged_in_with 'no newline'
	stop_server
	serve
	rc_without_password
	printf ' "a%%s$HOME\\ü#d \n' | credential poplar.test
	run_alone -d
	logged_in_with ' "a%s$HOME\\\xc3\xbc#d '
	[[ $stderr != *'$HOME'* ]]
}

@test "half of a credential is never sent" {
	serve
	rc_without_password
	printf 'ses\0ame' | credential poplar.test
	run_alone
	refused 78 "poplar.test holds a NUL"
	printf '\n' | credential poplar.test
	run_alone
	refused 78 "poplar.test is empty"
	head -c 70000 /dev/zero | tr '\0' s | credential poplar.test
	run_alone
	refused 78 "File too large"
}

@test "a credential of two lines never goes into a command line" {
	serve
	rc_without_password
	printf 'sesame\nDELE 1\n' | credential poplar.test
	run_alone
	expect_exit 78
	run grep -E 'C: (PASS|DELE)' "$LOG"
	assert_failure
}

@test "the account's name is never a path to a credential" {
	serve
	mkdir "$CREDENTIALS_DIRECTORY/poplar.a"
	echo stolen | credential x
	echo stolen | credential poplar..x
	for name in a/../x .x; do
		rc_without_password
		sed -i "s|^account .*|account $name|" "$HOME/.poplarrc"
		run_alone
		expect_exit 77
	done
	CREDENTIALS_DIRECTORY=credentials
	cd "$BATS_TEST_TMPDIR"
	rc_without_password
	echo stolen >credentials/poplar.test
	run_alone
	expect_exit 77
}

@test "~/.netrc: host and user" {
	serve
	rc_without_password
	netrc <<-'X'
		machine other.example.org login alice password no
		machine 127.0.0.1 login bob password no
		machine 127.0.0.1 login alice password "se \"s%a$m\\e"
	X
	run_alone -d
	logged_in_with 'se "s%a$m\\e'
	[[ $stderr == *'the password is from ~/.netrc'* ]]
}

@test "~/.netrc: one that others can read is refused" {
	serve
	rc_without_password
	netrc 644 <<<"machine 127.0.0.1 login alice password sesame"
	run_alone
	refused 78 "others can read or change $HOME/.netrc" \
	    "hint: chmod 600 $HOME/.netrc"
	chmod 620 "$HOME/.netrc"
	run_alone
	refused 78 "others can read or change"
}

@test "~/.netrc of somebody else is refused" {
	[ "$(id -u)" -eq 0 ] || skip "only root can give a file away"
	serve
	rc_without_password
	netrc <<<"machine 127.0.0.1 login alice password sesame"
	chown nobody "$HOME/.netrc"
	run_alone
	refused 78 "$HOME/.netrc, with a password, is not yours"
}

@test "~/.netrc without this account may be as it likes" {
	serve
	rc_without_password
	netrc 644 <<<"machine 127.0.0.1 login bob password no"
	key_ring sesame
	run_alone
	logged_in_with sesame
	rm "$HOME/.netrc"
	mkdir "$HOME/.netrc"
	run_alone
	expect_exit 78
	says "login: cannot read $HOME/.netrc"
}

@test "the key ring, as mpop and msmtp use it" {
	serve
	rc_without_password
	key_ring 's  e"same'
	run_alone -d
	logged_in_with 's  e"same'
	[[ $stderr == *'the password is from the key ring'* ]]
}

@test "host and user are data for the key ring's shell" {
	serve
	rc_without_password 'user "; touch ~/pwned; echo "$(touch ~/pwned)'
	printf '#!/bin/sh\nprintf "%%s\\n" "$@" >~/args\nprintf sesame\n' \
	    >"$BATS_TEST_TMPDIR/bin/secret-tool"
	run_alone
	expect_exit 0
	assert_equal "$(tail -n 1 "$HOME/args")" \
	    '"; touch ~/pwned; echo "$(touch ~/pwned)'
	[ ! -e "$HOME/pwned" ]
}

@test "without a key ring, or a D-Bus, it is passed over in silence" {
	serve
	rc_without_password
	printf '#!/bin/sh\necho "Cannot autolaunch D-Bus" >&2\nexit 1\n' \
	    >"$BATS_TEST_TMPDIR/bin/secret-tool"
	run_alone
	refused 77 "no password is known"
	[[ $stderr != *D-Bus* ]]
	run_alone -v
	[[ $stderr == *"the key ring has no password"*"autolaunch D-Bus"* ]]
	# None at all: sh(1) says 127.
	rm "$BATS_TEST_TMPDIR/bin/secret-tool"
	for tool in setsid timeout; do
		ln -s "$(command -v $tool)" "$BATS_TEST_TMPDIR/bin/$tool"
	done
	run --separate-stderr env PATH="$BATS_TEST_TMPDIR/bin" \
	    setsid -w timeout -k 5 60 "$POPLAR" </dev/null
	refused 77 "no password is known"
	[[ $stderr != *secret-tool* ]]
}

@test "a real key ring, where the machine has one" {
	local tool
	rm "$BATS_TEST_TMPDIR/bin/secret-tool"
	for tool in secret-tool gnome-keyring-daemon dbus-run-session; do
		command -v "$tool" >/dev/null || skip "$tool is not installed"
	done
	serve
	rc_without_password
	mkdir -m 700 "$BATS_TEST_TMPDIR/run"
	cat >"$BATS_TEST_TMPDIR/session" <<-'X'
		echo unlock | gnome-keyring-daemon --unlock --components=secrets \
		    >/dev/null || exit 99
		printf sesame | secret-tool store --label=mpop \
		    host 127.0.0.1 service pop3 user alice || exit 99
		"$POPLAR" -v </dev/null
	X
	XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run POPLAR=$POPLAR \
	    run --separate-stderr timeout -k 5 60 dbus-run-session -- \
	    sh "$BATS_TEST_TMPDIR/session"
	[ "$status" -ne 99 ] || skip "the key ring does not run here"
	logged_in_with sesame
	[[ $stderr == *'the password is from the key ring'* ]]
}

@test "passwordfd: the first line that comes there" {
	serve
	rc_without_password "passwordfd 7"
	run_alone -d 7< <(printf 'ses"a%%s$me ü\nnext\n')
	logged_in_with 'ses"a%s$me \xc3\xbc'
	run_alone 7<<<sesame
	logged_in_with sesame
	# In pieces, and without a line end.
	run_alone 7< <(printf ses; read -r -t 0.2 <> <(:) || :; printf ame)
	logged_in_with sesame
}

@test "passwordfd 0 is standard input, also without an rc file" {
	serve
	run --separate-stderr timeout -k 5 60 "$POPLAR" --host=127.0.0.1 \
	    --port="$PORT" --tls=off --auth=user --user=alice --passwordfd=0 \
	    <<<sesame
	logged_in_with sesame
	assert_maildir_equals_box
}

@test "accounts that name the same descriptor have the same password" {
	serve
	rc_without_password "passwordfd 7" "account second : test" "user bob" \
	    "account third : test" "user carol" "password other"
	run_alone 7<<<sesame
	expect_exit 0
	for line in 'USER alice' 'USER bob' 'USER carol' 'PASS other'; do
		grep -q "C: $line\$" "$LOG"
	done
	[ "$(grep -c 'C: PASS sesame' "$LOG")" -eq 2 ]
}

# no_descriptor WHY: that account fails with this, and no other does.
no_descriptor() {
	expect_exit 78
	says "login: passwordfd 7: $1"
	[[ $stderr != *"poplar: second"* ]]
	grep -q 'C: USER bob' "$LOG"
	run grep 'C: USER alice' "$LOG"
	assert_failure
	: >"$LOG"
}

@test "a descriptor with no password: 78 for that account, and why" {
	serve
	rc_without_password "passwordfd 7" "account second : test" "user bob" \
	    "password other"
	run_alone 7<&-
	no_descriptor "Bad file descriptor"
	run_alone 7</dev/null
	no_descriptor "nothing came"
	run_alone 7<<<''
	no_descriptor "nothing came"
	run_alone 7<"$HOME"
	no_descriptor "Is a directory"
	run_alone 7< <(printf 'ses\0ame\n')
	no_descriptor "it holds a NUL"
	run_alone 7< <(head -c 70000 /dev/zero | tr '\0' s)
	no_descriptor "a line without end"
}

@test "a descriptor that is a terminal is not read" {
	serve
	rc_without_password "passwordfd 0"
	command -v expect >/dev/null || skip "expect is not installed"
	POPLAR=$POPLAR run timeout -k 5 60 expect -c '
		set timeout 20
		spawn $env(POPLAR)
		expect eof
		exit [lindex [wait] 3]'
	[ "$status" -eq 78 ]
	[[ $output == *"passwordfd 0: a terminal"* ]]
}

@test "passwordfd: 0, or 3 and above" {
	serve
	for fd in 1 2 -1 x 99999999999 3x; do
		rc "passwordfd $fd"
		run_alone --pretend
		expect_exit 78
		[[ $stderr == *"passwordfd: not a descriptor"* ]]
	done
	rc "passwordfd 12"
	run_alone --pretend
	expect_exit 0
	assert_line "passwordfd 12"
	rc "passwordfd 12" "passwordfd"
	run_alone --pretend
	expect_exit 0
	refute_line --partial passwordfd
}

@test "no command and no worker gets the descriptor, nor any other" {
	serve
	rc_without_password "eval ls /proc/self/fd >~/eval; echo passwordfd 7" \
	    "delivery mda ls /proc/self/fd >~/mda; cat >/dev/null"
	[ -e /proc/self/fd ] || skip "no /proc here"
	run_alone 7<<<sesame 8<<<other
	logged_in_with sesame
	for file in eval mda; do
		run grep -xE '7|8' "$HOME/$file"
		assert_failure
	done
}

@test "the order: what the account says, credential, netrc, key ring" {
	serve
	key_ring from-key-ring
	rc_without_password
	run_alone
	logged_in_with from-key-ring
	stop_server
	serve
	rc_without_password
	netrc <<<"machine 127.0.0.1 login alice password from-netrc"
	run_alone
	logged_in_with from-netrc
	stop_server
	serve
	rc_without_password
	echo from-credential | credential poplar.test
	run_alone
	logged_in_with from-credential
	stop_server
	serve
	rc_without_password "passwordfd 7"
	run_alone 7<<<from-descriptor
	logged_in_with from-descriptor
	stop_server
	serve
	rc_without_password "passwordeval echo from-command" "passwordfd 7"
	run_alone 7<<<from-descriptor
	logged_in_with from-command
	stop_server
	serve
	rc "passwordeval echo from-command" "passwordfd 7"
	run_alone 7<<<from-descriptor
	logged_in_with sesame
}

@test "a file encrypted by GnuPG, as contrib/passwords says" {
	command -v gpg >/dev/null || skip "gpg is not installed"
	export GNUPGHOME=$BATS_TEST_TMPDIR/gnupg
	mkdir -m 700 "$GNUPGHOME"
	gpg --quiet --batch --passphrase '' --quick-generate-key joe \
	    default default never 3>&- 2>/dev/null || skip "gpg makes no key here"
	echo sesame | gpg --quiet --batch --trust-model always --encrypt \
	    --recipient joe --output "$HOME/.poplar-home.gpg" 3>&-
	serve
	rc_without_password "$(sed -n 's/^ *\(passwordeval gpg\)/\1/p' \
	    "$BATS_TEST_DIRNAME/../contrib/passwords")"
	run_alone
	gpgconf --kill all 3>&- || true
	logged_in_with sesame
}

# lets_in SOURCE [rc line ...]: by each method, under TLS of either kind, the
# Dovecot that was started lets that account in, which tells nobody why.
lets_in() {
	local source=$1 method port
	shift
	for method in user plain cram-md5; do
		for port in "$PORT on" "$TLS_PORT off"; do
			rc_without_password "tls on" "port ${port% *}" \
			    "tls_starttls ${port#* }" "user bob" \
			    "tls_trust_file $DIR/certs/ca.pem" \
			    "auth $method" "$@"
			run_alone -d 7<"$HOME/secret"
			[ "$status" -eq 0 ] || {
				printf '%s\n' "$source $method $port" "$stderr" >&2
				return 1
			}
			[[ $stderr != *"$secret"* ]]
			[[ $stderr != *"$(printf %s "$secret" | base64)"* ]]
		done
	done
}

@test "Dovecot lets in whom each source gives a password of odd characters" {
	local secret=' "s%e$a\\m`e ü#'
	find_dovecot
	start_dovecot "plain cram-md5"
	printf 'bob:{PLAIN}%s:%s:%s::%s::\n' "$secret" "$(id -u "$OWNER")" \
	    "$(id -g "$OWNER")" "$DIR/mail" >>"$DIR/users"
	mkdir -p "$DIR/mail/cur" "$DIR/mail/new" "$DIR/mail/tmp"
	[ "$(id -u)" -ne 0 ] || chown -R "$OWNER" "$DIR/mail"
	printf '%s\n' "$secret" >"$HOME/secret"
	lets_in password "password \"$secret\""
	lets_in passwordeval "passwordeval cat ~/secret"
	lets_in passwordfd "passwordfd 7"
	printf '#!/bin/sh\ncat ~/secret\n' >"$BATS_TEST_TMPDIR/bin/secret-tool"
	lets_in key-ring
	printf 'machine 127.0.0.1 login bob password "%s"\n' \
	    "$(sed 's/["\\]/\\&/g' "$HOME/secret")" | netrc
	lets_in netrc
	credential poplar.test <"$HOME/secret"
	rm "$HOME/.netrc"
	lets_in credential
}

@test "nothing found: 77 for that account, and where one could be" {
	serve
	rc "account second : test" "account third" "host 127.0.0.1" \
	    "port $PORT" "user bob" "tls off" "auth user"
	run_alone test third
	expect_exit 77
	[[ $stderr == *"poplar: third: login: no password is known"* ]]
	[[ $stderr == *'hint: '*'$CREDENTIALS_DIRECTORY/poplar.third'* ]]
	[[ $stderr == *"~/.netrc"* ]]
	[[ $stderr == *"key ring"* ]]
	[[ $stderr != *"poplar: test"* ]]
	assert_maildir_equals_box
}

@test "--pretend asks none of them" {
	serve
	rc_without_password "passwordeval touch ~/ran; echo sesame"
	printf '#!/bin/sh\ntouch ~/ran\nprintf sesame\n' \
	    >"$BATS_TEST_TMPDIR/bin/secret-tool"
	run_alone --pretend
	expect_exit 0
	rc_without_password
	run_alone --pretend
	expect_exit 0
	rc_without_password "passwordfd 7"
	exec 7< <(echo sesame)
	run_alone --pretend
	expect_exit 0
	read -r line <&7
	assert_equal "$line" sesame
	[ ! -e "$HOME/ran" ]
	[[ $output != *sesame* ]]
}

@test "passwordeval that is stopped together with poplar is no fault of it" {
	command -v setsid >/dev/null || skip "setsid is not installed"
	messages 1
	serve
	rc_without_password "passwordeval : >~/began; exec sleep 50"
	setsid "$POPLAR" </dev/null >"$BATS_TEST_TMPDIR/out" \
	    2>"$BATS_TEST_TMPDIR/err" 3>&- &
	RUN=$!
	pids+=("$RUN")
	eventually test -e "$HOME/began"
	kill -TERM -- "-$RUN"
	finish_poplar
	case $status in
	75 | 143) ;;
	*) expect_exit 75 ;;
	esac
	not grep passwordeval "$BATS_TEST_TMPDIR/err"
}
