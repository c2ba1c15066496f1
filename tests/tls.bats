#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# TLS: what is trusted, what is refused, and that nothing leaks before.

load lib

setup() {
	poplar_setup
	CA=$(certs)/ca.pem
	messages 2
}

# serve_tls [NAME [popd option ...]]: TLS from the first byte.
serve_tls() {
	tls_as "${1:-server}"
	serve --tls implicit "${TLS[@]}" "${@:2}"
}

# serve_stls [NAME [popd option ...]]
serve_stls() {
	tls_as "${1:-server}"
	serve --tls stls "${TLS[@]}" "${@:2}"
}

# play_tls < script
play_tls() {
	tls_as server
	play --log "$LOG" "${TLS[@]}"
}

# rc_tls [line ...]: TLS on, our authority trusted.
rc_tls() {
	rc "tls on" "tls_trust_file $CA" "$@"
}

# rc_stls [line ...]
rc_stls() {
	rc_tls "tls_starttls on" "$@"
}

# The server saw a connection, but no word that a stranger might use.
assert_nothing_leaked() {
	grep -q connect "$LOG"
	run grep -E 'C: (USER|PASS|APOP|AUTH)|alice|sesame' "$LOG"
	assert_failure
	assert_equal "$(delivered)" 0
}

# refused NAME WORD ...: that server's certificate is, for these reasons.
refused() {
	serve_tls "$1"
	rc_tls
	run_poplar
	expect_exit 76
	says "tls: the certificate of 127.0.0.1 is refused" "${@:2}"
	assert_nothing_leaked
}

# make_cert NAME LINE ...: from certtool's template lines, by $SIGNER or "own".
make_cert() {
	command -v certtool >/dev/null || skip "certtool is not installed"
	local name
	name=$(certs)/$1
	printf '%s\n' "cn = $1" "ip_address = 127.0.0.1" "${@:2}" >"$1.t"
	certtool --generate-privkey --key-type ecdsa --outfile "$name.key"
	if [ "$1" != own ]; then
		certtool --generate-certificate --template "$1.t" \
		    --load-privkey "$name.key" --load-ca-certificate \
		    "$(certs)/${SIGNER:-own}.pem" --load-ca-privkey \
		    "$(certs)/${SIGNER:-own}.key" --outfile "$name.pem"
	else
		certtool --generate-self-signed --template "$1.t" \
		    --load-privkey "$name.key" --outfile "$name.pem"
	fi
} 2>"$BATS_TEST_TMPDIR/certtool.err"

# An authority of our own; sets CA.
make_authority() {
	cd "$BATS_TEST_TMPDIR" || return
	[ -e "$(certs)/own.pem" ] ||
	    make_cert own ca cert_signing_key "expiration_days = 100"
	CA=$(certs)/own.pem
}

# key_pin NAME: its public key as tls_fingerprint takes it.
key_pin() {
	command -v openssl >/dev/null || skip "openssl is not installed"
	printf 'sha256/'
	openssl x509 -in "$(certs)/$1.pem" -noout -pubkey |
	    openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary |
	    openssl base64
}

# make_ocsp STATUS NAME: a response about a certificate, good for a week, in
# NAME.ocsp; STATUS is V, or R and a date, as in the index of openssl ca.
make_ocsp() {
	command -v openssl >/dev/null || skip "openssl is not installed"
	local dir serial
	dir=$(certs)
	serial=$(openssl x509 -in "$dir/$2.pem" -noout -serial)
	printf '%s\t351231235959Z\t%s\t%s\tunknown\t/CN=localhost\n' \
	    "${1%% *}" "$([[ $1 == R* ]] && echo "${1#R }")" \
	    "${serial#serial=}" >index
	openssl ocsp -index index -CA "$dir/ca.pem" -rsigner "$dir/ca.pem" \
	    -rkey "$dir/ca.key" -issuer "$dir/ca.pem" -cert "$dir/$2.pem" \
	    -ndays "${3:-7}" -respout "$2.ocsp" >/dev/null 2>&1
}

# fingerprint HASH NAME
fingerprint() {
	command -v openssl >/dev/null || skip "openssl is not installed"
	openssl x509 -in "$(certs)/$2.pem" -noout -fingerprint "-$1" |
	    sed 's/.*=//'
}

@test "TLS from the first byte" {
	serve_tls
	rc_tls
	run_poplar -v
	expect_exit 0
	says "tls: TLS1."
	assert_maildir_equals_box
	grep -q '^1 tls TLS1' "$LOG"
}

@test "TLS by STLS, and nothing but CAPA and STLS before it" {
	serve_stls
	rc_stls
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
	[ "$(head -n 4 "$LOG")" = "1 connect
1 C: CAPA
1 C: STLS
$(grep '^1 tls' "$LOG")" ]
}

@test "TLS for a host name, with the name of the certificate" {
	serve_tls
	rc_tls "host localhost" "host LocalHost"
	run_poplar -4
	expect_exit 0
	assert_maildir_equals_box
}

@test "mail in TLS records of any size" {
	messages 40
	message big big "$(head -c 60000 /dev/zero | tr '\0' x)"
	serve_tls server --chunk 7
	rc_tls
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "STLS refused: 69, nothing secret was said (CVE-2021-39272, CVE-2021-22946)" {
	serve_stls server --resp 'STLS=-ERR not today'
	rc_stls
	run_poplar
	expect_exit 69
	says "stls: server says no to STLS: not today"
	assert_nothing_leaked
}

@test "STLS refused for now: 75" {
	serve_stls server --resp 'STLS=-ERR [SYS/TEMP] no entropy'
	rc_stls
	run_poplar
	expect_exit 75
	assert_nothing_leaked
}

@test "STLS not offered: 69 with a hint, nothing secret was said (CVE-2006-5867, CVE-2020-15954)" {
	serve
	rc_stls
	run_poplar
	expect_exit 69
	says "stls: the server does not offer STLS" "hint: " "port 995"
	assert_nothing_leaked
}

@test "STLS without CAPA is tried all the same" {
	serve_stls server --no-capa
	rc_stls
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	stop_server
	: >"$LOG"
	rm -r "$HOME/Maildir" "$HOME/.local"
	serve --no-capa
	rc_stls
	run_poplar
	expect_exit 69
	assert_nothing_leaked
}

@test "a greeting before TLS that claims to be logged in changes nothing (CVE-2020-14093)" {
	play_tls <<-'X'
		S: +OK PREAUTH welcome
		C: CAPA
		S: +OK
		S: .
		EXPECT-EOF
	X
	rc_stls
	run_poplar
	expect_exit 69
	assert_played
	assert_nothing_leaked
}

@test "bytes behind the +OK of STLS end the session (CVE-2020-14954, CVE-2020-15953, CVE-2020-14928, CVE-2021-22947)" {
	play_tls <<-'X'
		S: +OK
		C: CAPA
		S: +OK
		S: STLS
		S: .
		C: STLS
		S- +OK\r\n+OK injected\r\n
		DRAIN
	X
	rc_stls
	run_poplar
	expect_exit 76
	says "tls: bytes arrived before the TLS handshake"
	assert_played
	assert_nothing_leaked
}

@test "part of a line behind the +OK of STLS ends the session too" {
	play_tls <<-'X'
		S: +OK
		C: CAPA
		S: -ERR
		C: STLS
		S- +OK\r\n+
		DRAIN
	X
	rc_stls
	run_poplar
	expect_exit 76
	assert_played
	assert_nothing_leaked
}

@test "what comes in the clear instead of the handshake ends the session" {
	play_tls <<-'X'
		S: +OK
		C: CAPA
		S: -ERR
		C: STLS
		S: +OK
		FLUSH
		DELAY 50
		S: +OK injected
		DRAIN
	X
	rc_stls
	run_poplar
	expect_exit 76
	assert_played
	assert_nothing_leaked
}

@test "what CAPA said before TLS is forgotten" {
	play_tls <<-'X'
		S: +OK
		C: CAPA
		S: +OK
		S: STLS
		S: PIPELINING
		S: UTF8
		S: .
		C: STLS
		S: +OK
		TLS
		C: CAPA
		S: +OK
		S: .
		C: USER alice
		EXPECT-NOTHING 50
		S: +OK
		C: PASS sesame
		EXPECT-NOTHING 50
		S: -ERR no
		DRAIN
	X
	rc_stls
	run_poplar
	expect_exit 77
	assert_played
}

@test "APOP's token of before TLS is not of use to anybody" {
	serve_stls server --apop --user alice:sesame
	rc_stls "auth on"
	run_poplar
	expect_exit 0
	run grep 'C: APOP' "$LOG"
	assert_failure
}

@test "an expired certificate" {
	refused expired "it expired on" "localhost" "SHA-256"
}

@test "a certificate for another name (CVE-2014-7275)" {
	refused wronghost "it is for elsewhere.example.org, not for 127.0.0.1" \
	    tls_host_override
}

@test "a self-signed certificate" {
	refused selfsigned "self-signed" tls_fingerprint
}

@test "a certificate of an authority that the system does not know (CVE-2019-8337, CVE-2014-7273, CVE-2014-7274)" {
	serve_tls
	rc "tls on"
	run_poplar
	expect_exit 76
	says "tls: "
	assert_nothing_leaked
}

@test "a certificate of an authority that is not the one trusted" {
	serve_tls
	rc "tls on" "tls_trust_file $(certs)/selfsigned.pem"
	run_poplar
	expect_exit 76
	says "its issuer \"CN=popd test authority\" is unknown"
	assert_nothing_leaked
}

@test "a certificate that is not valid yet" {
	make_authority
	make_cert future 'activation_date = "2090-01-01 00:00:00"' \
	    'expiration_date = "2091-01-01 00:00:00"' tls_www_server
	refused future "it is not valid before 2090-01-01"
}

@test "a certificate that is not meant for servers" {
	make_authority
	make_cert clientonly "expiration_days = 100" tls_www_client
	refused clientonly "it is not meant for servers"
}

@test "a certificate that a mere server has signed" {
	make_authority
	make_cert leaf "expiration_days = 100" tls_www_server
	SIGNER=leaf make_cert below "expiration_days = 100" tls_www_server
	cat "$(certs)/leaf.pem" >>"$(certs)/below.pem"
	refused below
}

@test "the same refusals hold behind STLS" {
	for name in expired wronghost selfsigned; do
		serve_stls "$name"
		rc_stls
		run_poplar
		expect_exit 76
		says "tls: the certificate of 127.0.0.1 is refused"
		stop_server
	done
	assert_nothing_leaked
}

@test "tls_trust_file: one that is not there or holds nothing is 78" {
	serve_tls
	for file in /nonexistent/ca.pem "$BOX/m0001"; do
		rc "tls on" "tls_trust_file $file"
		run_poplar
		expect_exit 78
		says "$file"
	done
	run grep -E 'C: ' "$LOG"
	assert_failure
}

@test "tls_fingerprint: the right one is enough, SHA-256 or SHA-1" {
	local sha256 sha1
	sha256=$(fingerprint sha256 selfsigned)
	sha1=$(fingerprint sha1 selfsigned)
	serve_tls selfsigned
	for pin in "$sha256" "${sha256,,}" "${sha256//:/}" "$sha1"; do
		rc "tls on" "tls_fingerprint $pin"
		run_poplar
		expect_exit 0
		[ -z "$stderr" ]
	done
	assert_maildir_equals_box
}

@test "tls_fingerprint: the public key, which outlives the certificate" {
	local pin
	serve_tls selfsigned
	pin=$(key_pin selfsigned)
	rc "tls on" "tls_fingerprint $pin"
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	assert_maildir_equals_box
	rc "tls on" "tls_fingerprint $(key_pin server)"
	run_poplar
	expect_exit 76
	says "it matches no tls_fingerprint" "tls_fingerprint $pin"
	rc "tls on" "tls_fingerprint $(key_pin server)" "tls_fingerprint $pin"
	run_poplar
	expect_exit 0
}

@test "a chain with an intermediate authority, and one that lacks it" {
	serve_tls chain
	rc_tls
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	stop_server
	rm -r "$HOME/Maildir" "$HOME/.local"
	: >"$LOG"
	refused nochain 'its issuer "CN=popd test intermediate" is unknown'
}

@test "tls_crl_file: what it lists is refused, all else is not" {
	serve_tls revoked
	rc_tls
	run_poplar
	expect_exit 0
	: >"$LOG"
	rm -r "$HOME/Maildir" "$HOME/.local"
	rc_tls "tls_crl_file $(certs)/crl.pem"
	run_poplar
	expect_exit 76
	says "it, or its issuer, has been revoked" "SHA-256" "hint: "
	assert_nothing_leaked
	stop_server
	serve_tls
	rc_tls "tls_crl_file $(certs)/crl.pem"
	run_poplar --only-new=off
	expect_exit 0
	[ -z "$stderr" ]
	assert_maildir_equals_box
}

@test "tls_crl_file: one that is out of date still holds, and is named" {
	serve_tls
	rc_tls "tls_crl_file $(certs)/oldcrl.pem"
	run_poplar
	expect_exit 0
	says "oldcrl.pem is out of date"
	stop_server
	serve_tls revoked
	rc_tls "tls_crl_file $(certs)/oldcrl.pem"
	run_poplar
	expect_exit 76
}

@test "tls_crl_file: one that is not there or holds none is 78" {
	serve_tls
	for file in /nonexistent/crl.pem "$(certs)/ca.pem" "$BOX/m0001"; do
		rc_tls "tls_crl_file $file"
		run_poplar
		expect_exit 78
		says "$file"
	done
	run grep -E 'C: ' "$LOG"
	assert_failure
}

@test "OCSP: a stapled response is honoured" {
	cd "$BATS_TEST_TMPDIR"
	make_ocsp V server
	serve_tls server --tls-ocsp "$BATS_TEST_TMPDIR/server.ocsp"
	rc_tls
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	stop_server
	: >"$LOG"
	rm -r "$HOME/Maildir" "$HOME/.local"
	make_ocsp "R 261124120000Z" server
	serve_tls server --tls-ocsp "$BATS_TEST_TMPDIR/server.ocsp"
	rc_tls
	run_poplar
	expect_exit 76
	says "it was revoked on 2026-11-24 12:00 UTC, says the OCSP response" \
	    "SHA-256" "hint: do not trust"
	assert_nothing_leaked
}

@test "OCSP: a certificate that must come with a response, and does not" {
	refused muststaple "it must come with its revocation status, but did not"
	stop_server
	cd "$BATS_TEST_TMPDIR"
	make_ocsp V muststaple
	serve_tls muststaple --tls-ocsp "$BATS_TEST_TMPDIR/muststaple.ocsp"
	rc_tls
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "OCSP: a response about another certificate, or an old one" {
	cd "$BATS_TEST_TMPDIR"
	make_ocsp V server
	serve_tls muststaple --tls-ocsp "$BATS_TEST_TMPDIR/server.ocsp"
	rc_tls
	run_poplar
	expect_exit 76
	says "the revocation status that came with it is invalid"
	stop_server
	command -v faketime >/dev/null || skip "faketime is not installed"
	declare -f make_ocsp certs >faked
	CERTS=$(certs) faketime -f -20d bash -c ". ./faked
		certs() { echo \$CERTS; }
		make_ocsp V muststaple"
	serve_tls muststaple --tls-ocsp "$BATS_TEST_TMPDIR/muststaple.ocsp"
	rc_tls
	run_poplar
	expect_exit 76
	says "the revocation status that came with it is outdated"
	assert_nothing_leaked
}

@test "tls_fingerprint: any of several" {
	serve_tls selfsigned
	rc "tls on" "tls_fingerprint $(fingerprint sha256 server)" \
	    "tls_fingerprint $(fingerprint sha256 selfsigned)"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "tls_fingerprint: a wrong one is refused, whatever authority signed" {
	local other
	other=$(fingerprint sha256 selfsigned)
	serve_tls
	rc_tls "tls_fingerprint $other"
	run_poplar
	expect_exit 76
	says "it matches no tls_fingerprint" "$(fingerprint sha256 server)"
	assert_nothing_leaked
}

@test "tls_fingerprint wins over tls_certcheck off" {
	local other
	other=$(fingerprint sha256 server)
	serve_tls selfsigned
	rc "tls on" "tls_certcheck off" "tls_fingerprint $other"
	run_poplar
	expect_exit 76
	assert_nothing_leaked
	rc "tls on" "tls_certcheck off" \
	    "tls_fingerprint $(fingerprint sha256 selfsigned)"
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
}

@test "tls_certcheck off takes any certificate, and warns at every run" {
	serve_tls expired
	rc "tls on" "tls_certcheck off"
	for _ in 1 2; do
		run_poplar
		expect_exit 0
		says "tls_certcheck is off"
	done
	assert_maildir_equals_box
}

@test "a client certificate in files" {
	local dir
	dir=$(certs)
	serve_tls server --tls-client-ca "$CA"
	rc_tls "tls_cert_file $dir/client.pem" "tls_key_file $dir/client.key"
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	assert_maildir_equals_box
	cat "$dir/client.pem" "$dir/client.key" >"$HOME/both.pem"
	rc_tls "tls_cert_file ~/both.pem"
	run_poplar
	expect_exit 0
	run_poplar --tls-priorities=NORMAL:-VERS-ALL:+VERS-TLS1.2
	expect_exit 0
}

@test "a client certificate that is missing is asked for in words" {
	serve_tls server --tls-client-ca "$CA"
	rc_tls
	run_poplar
	expect_exit 76
	says "hint: the server wants a certificate of yours: tls_cert_file"
	run_poplar --tls-priorities=NORMAL:-VERS-ALL:+VERS-TLS1.2
	expect_exit 76
	says "hint: the server wants a certificate of yours: tls_cert_file"
	assert_nothing_leaked
}

@test "a client certificate that does not fit is 78" {
	local dir
	dir=$(certs)
	serve_tls
	rc_tls "tls_cert_file $dir/client.pem" "tls_key_file $dir/server.key"
	run_poplar
	expect_exit 78
	says "do not belong together"
	rc_tls "tls_cert_file $dir/client.pem" "tls_key_file /nonexistent.key"
	run_poplar
	expect_exit 78
	says "tls_key_file /nonexistent.key: No such file"
	command -v openssl >/dev/null || skip "openssl is not installed"
	openssl pkey -in "$dir/client.key" -aes128 -passout pass:x \
	    -out "$HOME/encrypted.key"
	rc_tls "tls_cert_file $dir/client.pem" "tls_key_file ~/encrypted.key"
	run_poplar
	expect_exit 78
	says "encrypted" "hint: openssl pkey"
	run grep 'C: ' "$LOG"
	assert_failure
}

# A token with the client's certificate and key, and its PIN in pin.
make_token() {
	local dir module
	dir=$(certs)
	command -v softhsm2-util >/dev/null || skip "softhsm2 is not installed"
	command -v p11tool >/dev/null || skip "p11tool is not installed"
	module=$(find /usr/lib /usr/local/lib -name libsofthsm2.so | head -n 1)
	mkdir "$BATS_TEST_TMPDIR/tokens"
	export SOFTHSM2_CONF=$BATS_TEST_TMPDIR/softhsm2.conf
	echo "directories.tokendir = $BATS_TEST_TMPDIR/tokens" >"$SOFTHSM2_CONF"
	softhsm2-util --init-token --free --label mail --pin 1234 --so-pin 4321
	p11tool --provider "$module" --login --set-pin 1234 --write \
	    --load-privkey "$dir/client.key" --label alice "pkcs11:token=mail"
	p11tool --provider "$module" --login --set-pin 1234 --write \
	    --load-certificate "$dir/client.pem" --label alice \
	    "pkcs11:token=mail"
	printf 1234 >"$HOME/pin"
} >"$BATS_TEST_TMPDIR/token.out" 2>&1 </dev/null

@test "a client certificate on a PKCS#11 token, the PIN in a file" {
	make_token
	serve_tls server --tls-client-ca "$CA"
	rc_tls "tls_cert_file pkcs11:token=mail;object=alice;type=cert" \
	    "tls_key_file pkcs11:token=mail;object=alice;type=private?pin-source=$HOME/pin"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	rc_tls "tls_cert_file pkcs11:token=mail;object=alice;type=cert" \
	    "tls_key_file pkcs11:token=mail;object=alice;type=private"
	run_poplar
	expect_exit 78
	says "tls_key_file pkcs11:token=mail" "hint: the PIN comes from a file"
	rc_tls "tls_cert_file pkcs11:token=mail;object=bob;type=cert" \
	    "tls_key_file pkcs11:token=mail;object=alice;type=private?pin-source=$HOME/pin"
	run_poplar
	expect_exit 78
	says "tls_cert_file pkcs11:token=mail;object=bob"
	rc_tls "tls_cert_file pkcs11:token=mail?pin-value=1234"
	run_poplar
	expect_exit 78
	[[ $stderr == *"a PIN must be in a file of its own"* ]]
	not grep -q 1234 <<<"$stderr"
}

# The file of keys that the account "test" has.
keys() {
	printf '%s\n' "$HOME/.local/state/poplar/alice_at_127.0.0.1:$PORT.server-keys"
}

@test "tofu: a key is remembered at first sight, whatever the certificate" {
	local name
	for name in selfsigned expired wronghost server; do
		serve_tls "$name"
		rc "tls on" "tls_trust_file tofu"
		run_poplar -v --only-new=off
		expect_exit 0
		says "tls: the key of 127.0.0.1:$PORT is remembered at first sight" \
		    "$(key_pin "$name")"
		assert_equal "$(cat "$(keys)")" \
		    "127.0.0.1:$PORT $(key_pin "$name") $(date -u +%F)"
		assert_equal "$(stat -c %a "$(keys)")" 600
		run_poplar -v
		expect_exit 0
		not grep -q remembered <<<"$stderr"
		assert_equal "$(wc -l <"$(keys)")" 1
		stop_server
	done
}

@test "tofu: another key is refused, naming both and the way to accept it" {
	serve_tls selfsigned
	rc "tls on" "tls_trust_file tofu"
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	stop_server
	: >"$LOG"
	rm -r "$HOME/Maildir/new"
	mkdir "$HOME/Maildir/new"
	serve_tls server --port "$PORT"
	run_poplar
	expect_exit 76
	says "the certificate of 127.0.0.1 is refused: its public key is" \
	    "$(key_pin server), but since $(date -u +%F) the server's was" \
	    "$(key_pin selfsigned)" "hint: " \
	    "removing the line of 127.0.0.1:$PORT from $(keys)"
	assert_nothing_leaked
	sed -i "/^127.0.0.1:$PORT /d" "$(keys)"
	run_poplar
	expect_exit 0
	grep -qF "$(key_pin server)" "$(keys)"
	run_poplar
	expect_exit 0
}

@test "tofu: --dry-run remembers nothing, but holds to what is known" {
	serve_tls selfsigned
	rc "tls on" "tls_trust_file tofu"
	run_poplar --dry-run -v
	expect_exit 0
	says "is new: $(key_pin selfsigned) (not remembered)"
	[ ! -e "$HOME/.local" ]
	run_poplar
	stop_server
	serve_tls server --port "$PORT"
	run_poplar --dry-run
	expect_exit 76
}

@test "tofu: a key that cannot be remembered is not trusted" {
	serve_tls selfsigned
	rc "tls on" "tls_trust_file tofu"
	mkdir -p "$(keys)"
	run_poplar
	expect_exit 73
	: >"$LOG"
	rmdir "$(keys)"
	echo nonsense >"$(keys)"
	run_poplar
	expect_exit 78
	says "tls: server keys $(keys): line 1 is no server, key and date"
	assert_nothing_leaked
}

@test "tofu: behind STLS, and through a tunnel without host" {
	serve_stls selfsigned
	rc "tls on" "tls_starttls on" "tls_trust_file TOFU"
	run_poplar
	expect_exit 0
	assert_equal "$(wc -l <"$(keys)")" 1
	tls_as selfsigned
	rc "tunnel '$POPD' mailbox --stdio --tls implicit ${TLS[*]} '$BOX'" \
	    "tls on" "tls_trust_file tofu"
	sed -i '/^host/d; /^port/d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 0
	assert_equal "$(cat "$HOME/.local/state/poplar/test.server-keys")" \
	    "test $(key_pin selfsigned) $(date -u +%F)"
	run_poplar --pretend
	grep -qx 'tls_trust_file tofu' <<<"$output"
}

@test "tofu: a fingerprint and --tls-certcheck=off do not soften it" {
	serve_tls selfsigned
	rc "tls on" "tls_trust_file tofu" "tls_certcheck off"
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	stop_server
	serve_tls server --port "$PORT"
	run_poplar
	expect_exit 76
}

@test "tls_priorities choose the protocol" {
	serve_tls
	rc_tls "tls_priorities NORMAL:-VERS-ALL:+VERS-TLS1.2"
	run_poplar
	expect_exit 0
	grep -q '^1 tls TLS1.2' "$LOG"
}

@test "tls_priorities that have nothing in common with the server: 76" {
	serve_tls server --tls-priorities NORMAL:-VERS-ALL:+VERS-TLS1.3
	rc_tls "tls_priorities NORMAL:-VERS-ALL:+VERS-TLS1.2"
	run_poplar
	expect_exit 76
	says "tls: TLS handshake: "
	assert_nothing_leaked
}

@test "tls_priorities without sense: 78 with the word" {
	serve_tls
	rc_tls "tls_priorities NORMAL:+FROBNICATE"
	run_poplar
	expect_exit 78
	says FROBNICATE
	run grep -E 'C: ' "$LOG"
	assert_failure
}

@test "TLS 1.1 is refused unless it is asked for" {
	serve_tls server --tls-priorities NORMAL:-VERS-ALL:+VERS-TLS1.1
	rc_tls
	run_poplar
	expect_exit 76
	says "tls: TLS handshake: " "hint: "
	assert_nothing_leaked
}

@test "tls_compat tls1.0, and only then, talks to an old server, with a word" {
	serve_tls server --tls-priorities NORMAL:-VERS-ALL:+VERS-TLS1.0
	rc_tls
	run_poplar
	expect_exit 76
	says "tls: TLS handshake: " "hint: the server may know no TLS newer" \
	    "tls_compat tls1.0"
	assert_nothing_leaked
	rc_tls "tls_compat tls1.0"
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	assert_maildir_equals_box
	grep -q 'tls TLS1.0' "$LOG"
	run_poplar -v
	says "tls_compat tls1.0: this connection may be weaker"
}

@test "tls_compat sha1 for a certificate, and what a wrong preset says" {
	serve_tls sha1
	rc_tls "tls_compat small-dh"
	run_poplar
	expect_exit 76
	says "insecure algorithm" "hint: " "tls_compat sha1" "SHA-256"
	assert_nothing_leaked
	rc_tls "tls_compat SHA1,small-dh"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	run_poplar --pretend
	grep -qx 'tls_compat sha1 small-dh' <<<"$output"
	run_poplar --tls-compat=sslv3
	expect_exit 64
}

@test "tls_compat small-dh for a server with a prime of 1536 bits" {
	command -v openssl >/dev/null || skip "openssl is not installed"
	local how
	cd "$BATS_TEST_TMPDIR"
	PORT=$(free_port)
	openssl genpkey -genparam -algorithm DH -pkeyopt group:modp_1536 \
	    -out dh.pem 2>openssl.err
	mkfifo words
	exec 9<>words
	for how in '' small-dh; do
		printf -- '-ERR another day\r\n' >&9
		openssl s_server -quiet -tls1_2 -naccept 1 \
		    -accept "127.0.0.1:$PORT" -cipher 'DHE:@SECLEVEL=0' \
		    -dhparam dh.pem -cert "$(certs)/small.pem" \
		    -key "$(certs)/small.key" <&9 >/dev/null 2>openssl.err \
		    3>&- 9>&- &
		pids+=($!)
		eventually grep -q "$(printf ':%04X 00000000:0000 0A' "$PORT")" \
		    /proc/net/tcp
		rc "tls on" "tls_certcheck off" "tls_compat $how"
		run_poplar
		if [ -z "$how" ]; then
			expect_exit 76
			says "hint: the server's Diffie-Hellman prime" \
			    "tls_compat small-dh"
		else
			expect_exit 75
			says "another day"
		fi
		kill "${pids[-1]}" 2>/dev/null || true
		wait "${pids[-1]}" || true
	done
}

@test "tls_compat legacy-renegotiation for a server without RFC 5746" {
	serve_tls server --tls-priorities \
	    NORMAL:-VERS-TLS1.3:%DISABLE_SAFE_RENEGOTIATION
	rc_tls
	run_poplar
	expect_exit 76
	says "RFC 5746" "tls_compat legacy-renegotiation"
	assert_nothing_leaked
	run_poplar --tls-compat=legacy-renegotiation
	expect_exit 0
	assert_maildir_equals_box
}

@test "tls_host_override is the name that the certificate must have" {
	serve_tls wronghost
	rc_tls "tls_host_override elsewhere.example.org"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	stop_server
	: >"$LOG"
	rm -r "$HOME/Maildir"
	serve_tls
	rc_tls "tls_host_override elsewhere.example.org"
	run_poplar
	expect_exit 76
	says "not for elsewhere.example.org"
	assert_nothing_leaked
}

@test "a name ends at its end, not at a NUL (CVE-2009-2666, CVE-2009-3941)" {
	local name
	for name in nul nulcn; do
		serve_tls "$name"
		rc_tls "tls_host_override localhost"
		run_poplar
		expect_exit 76
		says "tls: the certificate of localhost is refused" \
		    "not for localhost"
		assert_nothing_leaked
	done
	# It is not the kind of name.
	serve_tls cn
	rc_tls "tls_host_override localhost"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "a body that ends without close_notify is cut short: 75" {
	messages 3
	serve_tls server --at 'RETR 2' --cut-after 60 --cut-hard \
	    --on-connection 1
	rc_tls "keep off"
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	run_poplar
	expect_exit 75
	says "without close_notify"
	[ -e "$BOX/m0002" ]
	run_poplar
	expect_exit 0
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "an end without close_notify behind a whole message: 75" {
	local n
	messages 2
	n=$(wc -c <"$BOX/m0001")
	# Its status line, and the line that ends it.
	n=$((n + 3 + $(printf '+OK %s octets\r\n' "$n" | wc -c)))
	serve_tls server --at 'RETR 1' --cut-after "$n" --cut-hard \
	    --on-connection 1
	rc_tls "pipelining off"
	run_poplar
	expect_exit 75
	says "without close_notify"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "no close_notify after QUIT is nobody's loss" {
	play_tls < <(
		printf '%s\n' TLS 'S: +OK'
		login_steps
		empty_steps
		echo CUT
	)
	rc_tls
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_played
}

@test "a server of plain text on a TLS port: 76, and what helps" {
	serve
	rc_tls
	run_poplar
	expect_exit 76
	says "the server speaks plain text on this port" \
	    "hint: try tls_starttls on"
	assert_nothing_leaked
}

@test "a server of TLS where STLS is expected: bounded by timeout" {
	serve_tls
	rc_stls "timeout 1"
	SECONDS=0
	run_poplar
	expect_exit 75
	[ "$SECONDS" -lt 8 ]
	says "hint: perhaps the server waits for TLS from the first byte on" \
	    "this port: tls_starttls off"
	assert_nothing_leaked
}

@test "a server that speaks does not wait for TLS" {
	for tls in off on; do
		play <<-'X'
			S: 220 mail.example.org ESMTP
			DRAIN
		X
		rc "tls $tls" "tls_starttls on"
		run_poplar
		expect_exit 76
		says "greeting: the answer to the connection is no reply: 220"
		[[ $stderr != *hint* ]]
		stop_server
	done
}

@test "a handshake that hangs is bounded by timeout" {
	play_tls <<-'X'
		STALL
	X
	rc_tls "timeout 1"
	SECONDS=0
	run_poplar
	expect_exit 75
	says "tls: TLS handshake: no answer"
	[ "$SECONDS" -lt 8 ]
}

@test "a handshake that hangs behind STLS is bounded, too (CVE-2011-1947)" {
	play_tls <<-'X'
		S: +OK
		C: CAPA
		S: +OK
		S: STLS
		S: .
		C: STLS
		S: +OK
		STALL
	X
	rc_stls "timeout 1"
	SECONDS=0
	run_poplar
	expect_exit 75
	says "tls: TLS handshake: no answer"
	[ "$SECONDS" -lt 8 ]
	assert_nothing_leaked
}

@test "a handshake that drips in is bounded by timeout as a whole" {
	play_tls <<-'X'
		DRIP 50
		S- \x16\x03\x03\x40\x00\x02\x00\x3f\xf0
		ENDLESS x
	X
	rc_tls "timeout 1"
	SECONDS=0
	run_poplar
	expect_exit 75
	[ "$SECONDS" -lt 8 ]
}

@test "a server that hangs up instead of a handshake: 76, nothing said" {
	play_tls <<-'X'
		CUT
	X
	rc_tls
	run_poplar
	expect_exit 76
	says "tls: "
	assert_nothing_leaked
}

@test "a connection that is lost in the handshake: 75, nothing said" {
	local end
	for end in CUT RESET; do
		# Not before the client has begun it.
		play_tls < <(printf '%s\n' 'C- \x16' \
		    'S- \x16\x03\x03\x40' "$end")
		rc_tls
		run_poplar
		expect_exit 75
		says "tls: TLS handshake: "
		assert_nothing_leaked
	done
}

@test "silence behind the handshake is bounded by timeout" {
	play_tls <<-'X'
		TLS
		STALL
	X
	rc_tls "timeout 1"
	run_poplar
	expect_exit 75
	says "greeting: no answer for 1 second"
	assert_nothing_leaked
}

@test "an account without tls is told the line that restores mpop's way" {
	serve
	rc
	sed -i '/^tls off/d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 76
	says "hint: "
	says "account test says nothing of tls" '"tls off"' '"auth user"'
	assert_nothing_leaked
}

# rc_silent [line ...]: the same account, which says nothing of tls.
rc_silent() {
	rc "tls_trust_file $CA" "timeout 1" "$@"
	sed -i '/^tls off/d; /^auth/d' "$HOME/.poplarrc"
}

# not_told CODE: it fails with that, and nobody is told to do without TLS.
not_told() {
	run_poplar
	expect_exit "$1"
	[[ $stderr != *"says nothing of tls"* ]]
	stop_server
}

@test "nobody is told to do without TLS where that would not help" {
	serve_tls server --greeting "-ERR [SYS/TEMP] busy"
	rc_silent
	not_told 75
	serve_tls
	rc_silent "tls_starttls on"
	not_told 75
	serve_stls server --greeting "-ERR [SYS/TEMP] busy"
	rc_silent "tls_starttls on"
	not_told 75
	play --tls implicit --tls-cert "$(certs)/server.pem" \
	    --tls-key "$(certs)/server.key" --tls-priorities NORMAL:-VERS-ALL:+VERS-TLS1.1 <<-'X'
		TLS-FAILS
	X
	rc_silent
	not_told 76
	# Nobody answers the proxy for the server.
	play <<-'X'
		STALL
	X
	rc_silent "proxy_host 127.0.0.1" "proxy_port $PORT" "connect_timeout 1"
	not_told 75
	# The port is the same without TLS.
	rc_silent
	not_told 69
	# It had TLS before.
	serve_tls
	rc_silent "uidls_file $TMPDIR/state"
	run_poplar
	expect_exit 0
	stop_server
	echo "port 995" >>"$HOME/.poplarrc"
	not_told 69
	rm "$TMPDIR/state"
	run_poplar
	expect_exit 69
	says "says nothing of tls"
}

@test "TLS is the default, and STLS on port 110 is not optional" {
	rc
	sed -i '/^tls off/d; /^auth/d; /^port/d' "$HOME/.poplarrc"
	run_poplar --pretend
	expect_exit 0
	grep -qx 'tls on' <<<"$output"
	grep -qx 'port 995' <<<"$output"
	run_poplar --pretend --port=110
	grep -qx 'tls_starttls on' <<<"$output"
}
