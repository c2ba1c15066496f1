# SPDX-License-Identifier: ISC
# What the bats tests share: a home of their own, servers, rc files.
# shellcheck shell=bash

bats_require_minimum_version 1.5.0

for library in bats-support bats-assert bats-file; do
	for prefix in "${BATS_LIB_PATH:-}" /usr/lib/bats /usr/lib \
	    /usr/local/lib; do
		if [ -e "$prefix/$library/load.bash" ]; then
			load "$prefix/$library/load.bash"
			break
		fi
	done
done

: "${POPLAR:=$BATS_TEST_DIRNAME/../poplar}"
: "${POPD:=$BATS_TEST_DIRNAME/../popd}"

# Each test has its own home; nothing of the caller's gets in.
poplar_setup() {
	export HOME=$BATS_TEST_TMPDIR/home TMPDIR=$BATS_TEST_TMPDIR/tmp
	export LC_ALL=C TZ=UTC
	unset XDG_CONFIG_HOME XDG_STATE_HOME XDG_RUNTIME_DIR MAIL
	unset CREDENTIALS_DIRECTORY DBUS_SESSION_BUS_ADDRESS DISPLAY
	mkdir -p "$HOME" "$TMPDIR" "$BATS_TEST_TMPDIR/box"
	BOX=$BATS_TEST_TMPDIR/box
	LOG=$BATS_TEST_TMPDIR/conversation
	pids=()
}

# Ends the servers that this test started, by their ids.
poplar_teardown() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

setup() {
	poplar_setup
}

teardown() {
	poplar_teardown
}

# Wait (10 s at most) until a command succeeds.
eventually() {
	local end=$((SECONDS + 10))
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		read -r -t 0.02 <> <(:) || true
	done
}

# A "!" alone does not fail a test, this does.
not() {
	! "$@"
}

# serve [popd option ...]: the files in $BOX; sets PORT, SERVER.
serve() {
	start_popd mailbox --log "$LOG" "$@" "$BOX"
}

# play [popd option ...] < script: a scripted server; sets PORT, SERVER.
play() {
	cat >"$BATS_TEST_TMPDIR/script"
	start_popd script "$@" "$BATS_TEST_TMPDIR/script"
}

# Of a script, what follows the greeting of a server without CAPA.
login_steps() {
	printf '%s\n' 'C: CAPA' 'S: -ERR' 'C: USER alice' 'S: +OK' \
	    'C: PASS sesame' 'S: +OK'
}

# Of a script, the rest of a session: an empty mailbox.
empty_steps() {
	printf '%s\n' 'C: STAT' 'S: +OK 0 0' 'C: UIDL' 'S: +OK' 'S: .' \
	    'C: LIST' 'S: +OK' 'S: .' 'C: QUIT' 'S: +OK'
}

# ready_or_dead PID FILE: the file is there, or nobody is left to write it.
ready_or_dead() {
	test -s "$2" || ! kill -0 "$1" 2>/dev/null
}

start_popd() {
	local port_file=$BATS_TEST_TMPDIR/port.${#pids[@]} mode=$1
	shift
	"$POPD" "$mode" --port-file "$port_file" --lifetime 120 "$@" \
	    2>"$BATS_TEST_TMPDIR/popd.err" 3>&- </dev/null &
	SERVER=$!
	pids+=("$SERVER")
	eventually ready_or_dead "$SERVER" "$port_file"
	[ -s "$port_file" ] || {
		cat "$BATS_TEST_TMPDIR/popd.err" >&2
		return 1
	}
	{
		read -r PORT
		read -r TLS_PORT || true
	} <"$port_file"
}

# The scripted server got exactly what it expected.
assert_played() {
	local status=0
	# Nobody will call it any more; it has a moment to come to its end.
	kill "$SERVER" 2>/dev/null || true
	wait "$SERVER" || status=$?
	[ "$status" -eq 0 ] || cat "$BATS_TEST_TMPDIR/popd.err" >&2
	return "$status"
}

# Prints a directory of certificates, made once for all tests of a file.
certs() {
	local dir=$BATS_FILE_TMPDIR/certs
	[ -e "$dir" ] || "$POPD" cert "$dir" >&2
	printf '%s\n' "$dir"
}

# tls_as [NAME]: sets TLS to popd's options for that certificate.
tls_as() {
	TLS=(--tls-cert "$(certs)/${1:-server}.pem"
	    --tls-key "$(certs)/${1:-server}.key")
}

stop_server() {
	kill "$SERVER" 2>/dev/null || true
	wait "$SERVER" 2>/dev/null || true
}

# message NAME SUBJECT [BODY]: one more message in $BOX, wire line ends.
message() {
	printf 'From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: %s\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\nMessage-ID: <%s@example.org>\r\n\r\n%s\r\n' \
	    "$2" "$1" "${3:-Hello.}" >"$BOX/$1"
}

messages() {
	local i
	for ((i = 1; i <= $1; i++)); do
		message "$(printf 'm%04d' "$i")" "message $i"
	done
}

# rc [line ...]: an account "test" for the server on $PORT, plain, to a Maildir.
# Lines given come last and win.
rc() {
	local line
	{
		printf '%s\n' "account test" "host 127.0.0.1" "port $PORT" \
		    "tls off" "auth user" "user alice" "password sesame" \
		    "timeout 10" "delivery maildir ~/Maildir"
		for line; do
			printf '%s\n' "$line"
		done
	} >"$HOME/.poplarrc"
	chmod 600 "$HOME/.poplarrc"
}

# The same without the password, unless a line gives another one.
rc_without_password() {
	rc "$@"
	sed -i '/^password sesame$/d' "$HOME/.poplarrc"
}

# Bounded, with nothing to ask on.
poplar() {
	timeout -k 5 60 "$POPLAR" "$@" </dev/null
}

run_poplar() {
	run --separate-stderr poplar "$@"
}

# Bounded, on another day.  libfaketime calls its files by the process id, fails
# where it finds one of a process before, and leaves them with a program that
# ends as this one does.
poplar_at() {
	local pid status=0
	timeout -k 5 60 sh -c 'echo "$$" >"$BATS_TEST_TMPDIR/faked"
		rm -f "/dev/shm/faketime_shm_$$" "/dev/shm/sem.faketime_sem_$$"
		exec faketime -f "$@"' sh "$1" "$POPLAR" "${@:2}" \
	    </dev/null || status=$?
	read -r pid <"$BATS_TEST_TMPDIR/faked"
	rm -f "/dev/shm/faketime_shm_$pid" "/dev/shm/sem.faketime_sem_$pid"
	return "$status"
}

# run_poplar_at WHEN [option ...]: as run_poplar, with WHEN as faketime has it.
run_poplar_at() {
	poplar_at "$1" --version >/dev/null 2>&1 ||
	    skip "faketime is not installed, or this program does not bear it"
	run --separate-stderr poplar_at "$@"
}

# As run_poplar, but by somebody who may not do everything, even if it is root.
run_mortal() {
	local as=()
	if [ "$(id -u)" -eq 0 ]; then
		command -v setpriv >/dev/null || skip "setpriv is not installed"
		as=(setpriv --bounding-set=-all --inh-caps=-all)
	fi
	run --separate-stderr timeout -k 5 60 "${as[@]}" "$POPLAR" "$@" \
	    </dev/null
}

# expect_exit CODE
expect_exit() {
	[ "$status" -eq "$1" ] || {
		printf 'exit code %s, not %s\noutput: %s\nerrors: %s\n' \
		    "$status" "$1" "$output" "${stderr:-}" >&2
		return 1
	}
}

# says WORD ...: the error lines of the account have these words.
says() {
	local word
	[[ $stderr == *"poplar: test: "* ]]
	for word; do
		[[ $stderr == *"$word"* ]] || {
			printf 'not said: %s\n%s\n' "$word" "$stderr" >&2
			return 1
		}
	done
}

delivered() {
	find "$HOME/Maildir/new" "$HOME/Maildir/cur" -type f 2>/dev/null |
	    wc -l | tr -d ' '
}

# A file of $BOX as it has to be once it is delivered.
as_delivered() {
	perl -0777 -ne 'if (length) { $_ .= "\r\n" unless /\r\n\z/;
	    s/\r\n/\n/g; print; }' "$1"
}

# Every file of $BOX stands in the Maildir exactly once, and nothing else.
assert_maildir_equals_box() {
	mkdir -p "$BATS_TEST_TMPDIR/as-delivered"
	perl -e 'my $dir = shift; local $/; for my $file (@ARGV) {
		open(my $in, "<:raw", $file) or die "$file: $!";
		my $text = <$in> // "";
		$text .= "\r\n" if $text ne "" && $text !~ /\r\n\z/;
		$text =~ s/\r\n/\n/g;
		$file =~ s|.*/||;
		open(my $out, ">:raw", "$dir/$file") or die "$file: $!";
		print $out $text;
	}' "$BATS_TEST_TMPDIR/as-delivered" "$BOX"/*
	find "$BATS_TEST_TMPDIR/as-delivered" -type f -exec sha256sum {} + |
	    sed 's/ .*/  -/' | sort >"$BATS_TEST_TMPDIR/expected"
	rm -r "$BATS_TEST_TMPDIR/as-delivered"
	find "$HOME/Maildir/new" "$HOME/Maildir/cur" -type f -exec sha256sum {} + |
	    sed 's/ .*/  -/' | sort >"$BATS_TEST_TMPDIR/got"
	diff "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
	[ -z "$(ls "$HOME/Maildir/tmp")" ]
}

state_file() {
	find "$HOME/.local/state/poplar" -type f ! -name '*.trying-*'
}

# split_mbox FILE DIR: each message of an mboxrd file as it was before it was
# quoted, in files 0001, 0002, ...
split_mbox() {
	mkdir "$2"
	perl -0777 -e '
		my ($file, $dir, $n) = @ARGV;
		open(my $in, "<:raw", $file) or die "$file: $!";
		my $text = <$in>;
		$text =~ /\AFrom \S+ \w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\n/
		    or die "no From_ line at the beginning";
		for (split /^(?=From )/m, $text) {
			s/\A[^\n]*\n// and s/\n\z// or die "no empty line";
			s/^>(>*From )/$1/mg;
			open(my $out, ">:raw", sprintf("%s/%04d", $dir, ++$n));
			print $out $_;
		}' "$1" "$2"
}

# Every file of $BOX stands in the mbox FILE, in the order of their names.
assert_mbox_equals_box() {
	local f n=0 parts=$BATS_TEST_TMPDIR/parts
	rm -rf "$parts"
	split_mbox "$1" "$parts"
	for f in "$BOX"/*; do
		n=$((n + 1))
		as_delivered "$f" | cmp - "$parts/$(printf %04d "$n")" || {
			printf 'not the same: %s\n' "$f" >&2
			return 1
		}
	done
	[ "$(find "$parts" -type f | wc -l)" -eq "$n" ]
}

# The same in any order.
assert_mbox_holds_box() {
	local f parts=$BATS_TEST_TMPDIR/parts
	rm -rf "$parts"
	split_mbox "$1" "$parts"
	diff <(for f in "$BOX"/*; do as_delivered "$f" | sha256sum; done | sort) \
	    <(for f in "$parts"/*; do sha256sum <"$f"; done | sort)
}

# start_poplar [option ...]: in the background; sets RUN, its process id.
# What it says goes to the files out and err.
start_poplar() {
	"$POPLAR" "$@" </dev/null >"$BATS_TEST_TMPDIR/out" \
	    2>"$BATS_TEST_TMPDIR/err" 3>&- &
	RUN=$!
	pids+=("$RUN")
}

# Nor does it run if nobody but a careless process 1 could wait for it.
ended() {
	! kill -0 "$1" 2>/dev/null ||
	    [[ $(ps -o stat= -p "$1" 2>/dev/null) == Z* ]]
}

# finish_poplar: waits for it (60 s at most) and sets status.
finish_poplar() {
	timeout 60 tail -s 0.02 --pid="$RUN" -f /dev/null
	status=0
	wait "$RUN" || status=$?
	output=$(cat "$BATS_TEST_TMPDIR/out") stderr=$(cat "$BATS_TEST_TMPDIR/err")
}

# As a crash would do it: nobody gets a word.
kill_at_once() {
	local child children
	command -v pgrep >/dev/null || skip "pgrep is not installed"
	# Stopped first: nobody sees another one go.
	kill -STOP "$1"
	children=$(pgrep -P "$1") || true
	# shellcheck disable=SC2086
	kill -STOP "$1" $children
	# shellcheck disable=SC2086
	kill -KILL "$1" $children
	wait "$1" || true
	for child in $children; do
		eventually ended "$child"
	done
}

# A line of the conversation so far matches.
logged() {
	grep -q "$@" "$LOG"
}

# How many lines of the conversation so far match.
count_logged() {
	grep -c "$@" "$LOG" || true
}

# rc_account NAME [line ...]: one more account in the rc file, as rc has it.
rc_account() {
	local line name=$1
	shift
	{
		printf '%s\n' "account $name" "host 127.0.0.1" "port $PORT" \
		    "tls off" "auth user" "user $name" "password sesame" \
		    "timeout 10" "delivery maildir ~/$name"
		for line; do
			printf '%s\n' "$line"
		done
	} >>"$HOME/.poplarrc"
	chmod 600 "$HOME/.poplarrc"
}

# A port of 127.0.0.1 that nobody has just now.
free_port() {
	perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1,
	    LocalAddr => "127.0.0.1", LocalPort => 0)->sockport'
}

# Somebody listens on port $1 of 127.0.0.1.
listens() {
	(: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
