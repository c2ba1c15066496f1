#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The promise under kill -9, failing disks and power cuts: a selection.  All
# of it is tests/crash/all.

load lib.bash

# Makes step once, and sees whether this machine lets it do its work.
prepare() {
	[ "$(uname)" = Linux ] || skip "step.c needs Linux"
	command -v python3 >/dev/null || skip "no python3"
	if [ -z "${STEP:-}" ]; then
		STEP=$BATS_FILE_TMPDIR/step
		[ -x "$STEP" ] || "${CC:-cc}" -std=c11 -D_GNU_SOURCE -O1 \
		    -o "$STEP" "$BATS_TEST_DIRNAME/crash/step.c"
	fi
	export STEP POPLAR POPD
	"$STEP" -l "$BATS_TEST_TMPDIR/log" -- "$POPLAR" --version \
	    >/dev/null 2>"$BATS_TEST_TMPDIR/why" ||
		skip "no stop at system calls: $(cat "$BATS_TEST_TMPDIR/why")"
}

crash() {
	python3 -B "$BATS_TEST_DIRNAME/crash/$1.py" "${@:2}"
}

@test "killed at system calls of any kind: the next run has each message once" {
	prepare
	crash kill --only kill --cases 3
}

@test "asked to stop at system calls of any kind: it stops, and resumes" {
	prepare
	crash kill --only term --cases 3
}

@test "calls on message, directory, journal and mbox fail: said, and safe" {
	prepare
	[ "$(id -u)" -eq 0 ] || skip "only root sees the files of a worker"
	crash fault --cases 2
}

@test "the power is cut at any step: what the disk kept is enough" {
	prepare
	command -v strace >/dev/null || skip "no strace"
	crash power --cases 4
}

# What a run does to the disk and to the server, in order, once each: the
# journal is "state", a message in tmp/ "message", and HOME "/".
steps() {
	local calls=mkdir,mkdirat,write,writev,ftruncate,fsync,fdatasync
	calls+=,rename,renameat,link,linkat,unlink,sendto
	timeout -k 5 60 strace -f -y -s 40 -e trace="$calls" "$@" \
	    -o "$BATS_TEST_TMPDIR/trace" \
	    "$POPLAR" </dev/null 2>"$BATS_TEST_TMPDIR/err" || true
	perl -ne '
		s/^\d+\s+//;
		my ($call, $dir, $file) = /^(\w+)\(\d+<([^>]*)>(?:, "([^"]*)")?/;
		($call, $file) = /^(link|unlink|rename|mkdir)\w*\(.*"([^"]*)"/
		    unless $call;
		next unless $call;
		if ($call eq "sendto") {
			print "$1\n" if $file =~ /^(DELE|QUIT)/;
			next;
		}
		$dir = $call =~ /at$/ ? "$dir/$file" : $dir || $file;
		next unless $dir =~ s/^\Q$ENV{HOME}\E//;
		$dir = "state" if $dir =~ m|poplar/alice[^.]*[\d.]*:\d+$|;
		$dir =~ s|.*:\d+\.(compacting\|damaged)$|$1|;
		$dir =~ s|/Maildir/tmp/.*|message|;
		next if $dir =~ m{trying|/#\d+|mbox\.lock.} ||
		    ($dir =~ /mbox\.lock/ && $call !~ /link/);
		$call =~ s/writev/write/;
		print "$call ", $dir || "/", "\n";' "$BATS_TEST_TMPDIR/trace" | uniq
}

# The search for leaks cannot be done in what is traced.
can_trace() {
	export LSAN_OPTIONS=detect_leaks=0
	command -v strace >/dev/null || skip "no strace"
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace"
}

@test "a Maildir: each step is durable before the next, and all before DELE" {
	can_trace
	messages 1
	serve
	rc "keep off"
	diff - <(steps) <<-'EOF'
		mkdir /.local
		fsync /
		mkdir /.local/state
		fsync /.local
		mkdir /.local/state/poplar
		fsync /.local/state
		mkdir /Maildir
		mkdirat /Maildir/tmp
		mkdirat /Maildir/new
		mkdirat /Maildir/cur
		fsync /Maildir
		fsync /
		write message
		fdatasync message
		fsync /Maildir
		fsync /.local/state/poplar
		write state
		fdatasync state
		renameat message
		fsync /Maildir/new
		write state
		fdatasync state
		DELE
		write state
		QUIT
	EOF
	messages 2
	rm "$BOX/m0001"
	rc "keep on"
	printf torn >>"$(state_file)"
	diff - <(steps) <<-'EOF'
		write message
		fdatasync message
		fsync /Maildir
		ftruncate state
		fdatasync state
		write state
		fdatasync state
		renameat message
		fsync /Maildir/new
		write state
		QUIT
	EOF
}

@test "an mbox: each step is durable before the next, and all before DELE" {
	can_trace
	messages 1
	serve
	mkdir -p "$HOME/.local/state/poplar"
	rc "keep off" "delivery mbox ~/mbox"
	diff - <(steps) <<-'EOF'
		fsync /
		link /mbox.lock
		fsync /
		fsync /.local/state/poplar
		write state
		fdatasync state
		write /mbox
		fdatasync /mbox
		write state
		fdatasync state
		unlink /mbox.lock
		DELE
		write state
		QUIT
	EOF
}

@test "what a killed run left in a Maildir is settled durably, then deleted" {
	can_trace
	messages 1
	serve
	rc "keep off"
	steps -e inject=renameat:signal=KILL >/dev/null
	diff - <(steps) <<-'EOF'
		fdatasync state
		renameat message
		fsync /Maildir/new
		fsync /Maildir/cur
		write state
		fdatasync state
		DELE
		write state
		QUIT
	EOF
}

@test "what a killed run left of an mbox is settled durably, then deleted" {
	can_trace
	messages 1
	serve
	rc "keep off" "delivery mbox ~/mbox"
	steps -e inject=writev:signal=KILL >/dev/null
	diff - <(steps) <<-'EOF'
		fdatasync state
		fsync /
		fdatasync /mbox
		write state
		fdatasync state
		unlink /mbox.lock
		write state
		link /mbox.lock
		fsync /
		write state
		fdatasync state
		write /mbox
		fdatasync /mbox
		write state
		fdatasync state
		unlink /mbox.lock
		DELE
		write state
		QUIT
	EOF
}

@test "a state is durable before it takes the place of a damaged one" {
	can_trace
	messages 1
	serve
	rc
	steps >/dev/null
	sed -i '$i garbage' "$(state_file)"
	diff - <(steps) <<-'EOF'
		write state
		QUIT
		unlink compacting
		write compacting
		fdatasync compacting
		write damaged
		fdatasync damaged
		fsync /.local/state/poplar
		rename state
		fsync /.local/state/poplar
	EOF
}

@test "an mbox that cannot be read in recovery is not cut" {
	can_trace
	local n left=$BATS_TEST_TMPDIR/left
	messages 2
	serve
	rc "delivery mbox ~/mbox"
	# Not all of it had reached the disk, and somebody else went on.
	steps -e inject=fdatasync:signal=KILL:when=3 >/dev/null
	truncate -s -100 "$HOME/mbox"
	printf '\nFrom eve Sun Nov 22 00:00:00 2026\n\nhello\n' >>"$HOME/mbox"
	cp -a "$HOME" "$left"
	for ((n = 1; n <= 50; n++)); do
		# The same file: by that it is known.
		cp -a "$left/." "$HOME"
		status=0
		timeout -k 5 60 strace -f -o /dev/null -e trace=pread64 \
		    -e "inject=pread64:error=EIO:when=$n+" "$POPLAR" \
		    </dev/null 2>/dev/null || status=$?
		cmp -n "$(stat -c %s "$left/mbox")" "$left/mbox" "$HOME/mbox"
		[ "$status" -ne 0 ] || break
	done
	[ "$n" -gt 5 ] && [ "$n" -le 50 ]
	[ "$(grep -c '^Subject: message 1' "$HOME/mbox")" -eq 1 ]
}

@test "where nobody knows whether there is a state none is made" {
	can_trace
	local name
	messages 1
	serve
	rc "uidls_file ~/list"
	for name in list list.poplar; do
		run timeout -k 5 60 strace -f -o /dev/null -P "$HOME/$name" \
		    -e trace=%%stat -e inject=%%stat:error=EIO:when=1 \
		    "$POPLAR" </dev/null
		[ "$status" -eq 74 ]
		[[ $output == *"state: cannot open $HOME/$name: "* ]]
		[ ! -e "$HOME/list" ]
		[ ! -e "$HOME/list.poplar" ]
	done
}

@test "an mbox that cannot be cut in recovery is not written to" {
	can_trace
	local n left=$BATS_TEST_TMPDIR/left refused=0
	messages 2
	serve
	rc "delivery mbox ~/mbox"
	steps -e inject=fdatasync:signal=KILL:when=3 >/dev/null
	truncate -s -5 "$HOME/mbox"
	cp -a "$HOME" "$left"
	for n in 1 2 3; do
		cp -a "$left/." "$HOME"
		if timeout -k 5 60 strace -f -o /dev/null -e trace=ftruncate \
		    -e "inject=ftruncate:error=EIO:when=$n" "$POPLAR" \
		    </dev/null 2>/dev/null; then
			assert_mbox_equals_box "$HOME/mbox"
		else
			cmp "$left/mbox" "$HOME/mbox"
			refused=$((refused + 1))
		fi
	done
	[ "$refused" -gt 0 ] && [ "$refused" -lt 3 ]
}

@test "a flush that fails, whichever it is: nothing is deleted" {
	can_trace
	local call place n
	for call in fsync fdatasync; do
		for place in "maildir ~/Maildir" "mbox ~/mbox"; do
			messages 1
			serve
			rc "keep off" "delivery $place"
			for ((n = 1; n <= 30; n++)); do
				rm -rf "$HOME/.local" "$HOME/Maildir" \
				    "$HOME"/mbox*
				status=0
				timeout -k 5 60 strace -f -o /dev/null \
				    -e trace="$call" \
				    -e "inject=$call:error=EIO:when=$n+" \
				    "$POPLAR" </dev/null 2>/dev/null ||
					status=$?
				[ "$status" -ne 0 ] || break
				not logged 'C: DELE'
			done
			[ "$n" -gt 3 ] && [ "$n" -le 30 ]
			[ -z "$(ls "$BOX")" ]
			stop_server
			rm "$LOG"
		done
	done
}

@test "one flush of many messages fails: the session ends there" {
	can_trace
	local how
	messages 700
	serve
	for how in on off; do
		rc "keep off" "pipelining $how" "delivery maildir ~/$how"
		run timeout -k 5 60 strace -f -o /dev/null -e trace=fdatasync \
		    -e inject=fdatasync:error=EIO:when=1 "$POPLAR" </dev/null
		[ "$status" -eq 74 ]
		[ "$(find "$HOME/$how" -type f | wc -l)" -eq 0 ]
		not logged DELE
		rm -r "$HOME/.local"
	done
}
