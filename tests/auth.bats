#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# SASL: the exchange line by line, which method is taken, and what never is.

load lib

token=ya29.a0AfH6SMBx-_~+/abc==

# b64 TEXT: as it stands in the conversation; TEXT knows \0 and \1.
b64() {
	printf "$1" | base64 -w 0
}

# dialogue SASL-LINE [script line ...]: a server that has that capability
# ("": no CAPA) plays these steps, and nothing may come after them.
dialogue() {
	local line sasl=$1
	shift
	{
		printf '%s\n' "S: +OK ready" "C: CAPA"
		if [ -n "$sasl" ]; then
			printf 'S: %s\n' "+OK" TOP UIDL PIPELINING "$sasl" .
		else
			echo "S: -ERR"
		fi
		for line; do
			printf '%s\n' "$line"
		done
		echo EXPECT-EOF
	} >"$BATS_TEST_TMPDIR/dialogue"
	start_popd script "$BATS_TEST_TMPDIR/dialogue"
}

assert_masked() {
	local secret
	for secret; do
		[[ $output$stderr != *"$secret"* ]] || {
			printf 'leaked: %s\n%s\n' "$secret" "$stderr" >&2
			return 1
		}
	done
}

@test "plain: in one line where the server announces it" {
	dialogue "SASL LOGIN PLAIN" "C: AUTH PLAIN $(b64 '\0alice\0sesame')" \
	    "S: +OK" "$(empty_steps)"
	rc "auth plain"
	run_poplar -d
	expect_exit 0
	assert_played
	[[ $stderr == *"> AUTH PLAIN ****"* ]]
	assert_masked sesame "$(b64 '\0alice\0sesame')"
}

@test "plain: in two lines where it is not announced" {
	dialogue "" "C: AUTH PLAIN" "S: + " \
	    "C: $(b64 '\0alice\0sesame')" "S: +OK" "$(empty_steps)"
	rc "auth plain"
	run_poplar -d
	expect_exit 0
	assert_played
	assert_masked sesame "$(b64 '\0alice\0sesame')"
}

@test "plain: in two lines where one would be longer than 255 octets" {
	local password
	password=$(printf 'p%.0s' {1..180})
	dialogue "SASL PLAIN" "C: AUTH PLAIN" "S: + " \
	    "C: $(b64 "\\0alice\\0$password")" "S: +OK" "$(empty_steps)"
	rc "auth plain" "password $password"
	run_poplar
	expect_exit 0
	assert_played
	# AUTH PLAIN and 240 of base64 are 253 with their line end.
	password=${password:0:173}
	dialogue "SASL PLAIN" \
	    "C: AUTH PLAIN $(b64 "\\0alice\\0$password")" "S: +OK" \
	    "$(empty_steps)"
	rc "auth plain" "password $password"
	run_poplar
	expect_exit 0
	assert_played
}

@test "external: 256 octets are one too many for a line" {
	local user
	user=$(printf 'u%.0s' {1..180})
	dialogue "SASL EXTERNAL" "C: AUTH EXTERNAL" "S: +" "C: $(b64 "$user")" \
	    "S: +OK" "$(empty_steps)"
	rc "auth external" "user $user"
	run_poplar
	expect_exit 0
	assert_played
}

@test "a + without its blank, and one with words, ask for the response" {
	for plus in "+" "+ go ahead" "+R28gYWhlYWQ="; do
		dialogue "" "C: AUTH PLAIN" "S: $plus" \
		    "C: $(b64 '\0alice\0sesame')" "S: +OK" "$(empty_steps)"
		rc "auth plain"
		run_poplar
		expect_exit 0
		assert_played
	done
}

@test "+OK where + belongs, as Exchange 2003 says it" {
	dialogue "" "C: AUTH PLAIN" "S: +OK" \
	    "C: $(b64 '\0alice\0sesame')" "S: +OK" "$(empty_steps)"
	rc "auth plain"
	run_poplar
	expect_exit 0
	assert_played
}

@test "login: user and password, whatever the server asks" {
	for asks in "VXNlcm5hbWU6 UGFzc3dvcmQ6" "VXNlciBOYW1lAA== UGFzc3dvcmQA" \
	    "username? password?"; do
		dialogue "SASL LOGIN" "C: AUTH LOGIN" "S: + ${asks% *}" \
		    "C: $(b64 alice)" "S: + ${asks#* }" "C: $(b64 sesame)" \
		    "S: +OK" "$(empty_steps)"
		rc "auth login"
		run_poplar -d
		expect_exit 0
		assert_played
		assert_masked sesame "$(b64 sesame)"
	done
}

@test "external: the user's name, and no password is asked for" {
	dialogue "SASL EXTERNAL" "C: AUTH EXTERNAL $(b64 alice)" "S: +OK" \
	    "$(empty_steps)"
	rc "auth external"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 0
	assert_played
}

@test "a secret with CR or LF goes through SASL as it is" {
	dialogue "SASL PLAIN" "C: AUTH PLAIN $(b64 '\0alice\0se\rDELE 1')" \
	    "S: +OK" "$(empty_steps)"
	rc "auth plain" "passwordeval printf 'se\\rDELE 1\\n'"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 0
	assert_played
}

@test "xoauth2: always in two steps" {
	dialogue "SASL XOAUTH2" "C: AUTH XOAUTH2" "S: + " \
	    "C: $(b64 "user=alice\\1auth=Bearer $token\\1\\1")" "S: +OK" \
	    "$(empty_steps)"
	rc "auth xoauth2" "password $token"
	run_poplar -d
	expect_exit 0
	assert_played
	assert_masked "$token" "$(b64 "user=alice\\1auth=Bearer $token\\1\\1")"
}

@test "xoauth2 in one line is what such a server would hang up on" {
	dialogue "SASL XOAUTH2" "C: AUTH XOAUTH2" "S: +" "C~ *" "S: +OK" \
	    "$(empty_steps)"
	rc "auth xoauth2" "password $token"
	run_poplar
	expect_exit 0
	assert_played
}

@test "oauthbearer: host, port, and a name that needs quoting" {
	dialogue "SASL OAUTHBEARER" "C: AUTH OAUTHBEARER" "S: + " "ANY" \
	    "S: +OK" "$(empty_steps)"
	rc "auth oauthbearer" "password $token" "user a,b=c"
	run_poplar
	expect_exit 0
	assert_played
	dialogue "SASL OAUTHBEARER" "C: AUTH OAUTHBEARER" "S: + " "ANY" \
	    "S: -ERR no"
	rc "auth oauthbearer" "password $token" "user a,b=c"
	run_poplar
	expect_exit 77
	assert_played
}

@test "oauthbearer: the message of RFC 7628, word by word" {
	local message
	start_popd script --repeat <(printf '%s\n' "S: +OK" "C: CAPA" \
	    "S: -ERR" "C: AUTH OAUTHBEARER" "S: +" "ANY" "S: +OK" \
	    "$(empty_steps)") --log "$LOG"
	rc "auth oauthbearer" "password $token" "user a,b=c"
	run_poplar
	message=$(sed -n 's/^1 C: \(bi[A-Za-z0-9+/=]*\)$/\1/p' "$LOG")
	printf 'n,a=a=2Cb=3Dc,\1host=127.0.0.1\1port=%s\1auth=Bearer %s\1\1' \
	    "$PORT" "$token" | cmp - <(base64 -d <<<"$message")
}

@test "a token of 8,000 octets" {
	local long
	long=$(head -c 8000 /dev/zero | tr '\0' t)
	dialogue "SASL XOAUTH2" "C: AUTH XOAUTH2" "S: +" \
	    "C: $(b64 "user=alice\\1auth=Bearer $long\\1\\1")" "S: +OK" \
	    "$(empty_steps)"
	rc "auth xoauth2" "passwordeval head -c 8000 /dev/zero | tr '\\0' t"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -d
	expect_exit 0
	assert_played
	assert_masked tttt dHR0
}

@test "what is no token is not sent" {
	dialogue "SASL XOAUTH2"
	rc "auth xoauth2" "password error: no refresh token"
	run_poplar
	expect_exit 78
	says "login: the secret is no access token"
	assert_masked "no refresh"
	assert_played
}

@test "xoauth2: the reason of a no is shown, and answered" {
	dialogue "SASL XOAUTH2" "C: AUTH XOAUTH2" "S: +" "ANY" \
	    "S: + $(b64 '{"status":"401","schemes":"Bearer\x1b[31m"}')" \
	    "C: " "S: -ERR [AUTH] Authentication failed."
	rc "auth xoauth2" "password $token"
	run_poplar
	expect_exit 77
	says "login: server says no to AUTH XOAUTH2: [AUTH] Authentication" \
	    ' ({"status":"401","schemes":"Bearer\x1b[31m"})' \
	    "hint: is the token of account test" "for alice, and"
	assert_played
}

@test "oauthbearer: the reason of a no is answered with ^A" {
	dialogue "SASL OAUTHBEARER" "C: AUTH OAUTHBEARER" "S: +" "ANY" \
	    "S: + $(b64 '{"status":"invalid_token"}')" \
	    "C: AQ==" "S: -ERR no"
	rc "auth oauthbearer" "password $token"
	run_poplar
	expect_exit 77
	says ': no ({"status":"invalid_token"})'
	assert_played
}

@test "a yes after the reason of a no is none" {
	dialogue "SASL OAUTHBEARER" "C: AUTH OAUTHBEARER" "S: +" "ANY" \
	    "S: + $(b64 '{"status":"invalid_token"}')" \
	    "C: AQ==" "S: +OK"
	rc "auth oauthbearer" "password $token"
	run_poplar
	expect_exit 76
	assert_played
}

@test "a refused token: passwordeval once more, and a new line" {
	{
		printf '%s\n' "S: +OK" "C: CAPA" "S: -ERR" "C: AUTH XOAUTH2" \
		    "S: +" "C: $(b64 'user=alice\1auth=Bearer first\1\1')" \
		    "S: -ERR [AUTH] expired"
	} >"$BATS_TEST_TMPDIR/old"
	{
		printf '%s\n' "S: +OK" "C: CAPA" "S: -ERR" "C: AUTH XOAUTH2" \
		    "S: +" "C: $(b64 'user=alice\1auth=Bearer second\1\1')" \
		    "S: +OK" "$(empty_steps)"
	} >"$BATS_TEST_TMPDIR/new"
	start_popd script "$BATS_TEST_TMPDIR/old" "$BATS_TEST_TMPDIR/new"
	cat >"$HOME/helper" <<-'X'
		if [ -e "$HOME/called" ]; then echo second; else echo first; fi
		echo x >>"$HOME/called"
	X
	rc "auth xoauth2" "passwordeval sh ~/helper"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -d
	expect_exit 0
	assert_played
	assert_equal "$(wc -l <"$HOME/called")" 2
	assert_masked first second "$(b64 first)" "$(b64 second)"
}

@test "a refused token: the same one again is not tried twice" {
	dialogue "SASL XOAUTH2" "C: AUTH XOAUTH2" "S: +" "ANY" "S: -ERR no"
	rc "auth xoauth2" "passwordeval echo x >>~/called; echo token"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 77
	says "server says no to AUTH XOAUTH2"
	assert_played
	assert_equal "$(wc -l <"$HOME/called")" 2
}

@test "a refused password is not evaluated twice" {
	dialogue "SASL PLAIN" "C~ AUTH PLAIN *" "S: -ERR no"
	rc "auth plain" "passwordeval echo x >>~/called; echo sesame"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 77
	assert_played
	assert_equal "$(wc -l <"$HOME/called")" 1
}

@test "refusals of AUTH: exit codes as for PASS" {
	local case
	for case in "77 -ERR no" "77 -ERR [AUTH] no" "77 -ERR [FROBNICATE] no" \
	    "75 -ERR [IN-USE] no" "75 -ERR [LOGIN-DELAY] no" \
	    "75 -ERR [SYS/TEMP] no" "69 -ERR [SYS/PERM] no" "77 -ERR"; do
		dialogue "SASL PLAIN" "C~ AUTH PLAIN *" "S: ${case#* }" \
		   
		rc "auth plain"
		run_poplar
		expect_exit "${case%% *}"
		says "login: server says no to AUTH PLAIN"
		assert_played
	done
}

@test "a method that is named is the only one tried" {
	dialogue "SASL PLAIN LOGIN" "C: AUTH XOAUTH2" "S: -ERR unsupported"
	rc "auth xoauth2"
	run_poplar
	expect_exit 77
	says "hint: the server does not offer XOAUTH2, but PLAIN LOGIN"
	assert_played
}

@test "a server that asks for more, or without end, is left" {
	dialogue "SASL PLAIN" "C~ AUTH PLAIN *" "S: + $(b64 more)" "C: *"
	rc "auth plain"
	run_poplar
	expect_exit 76
	says "login: AUTH PLAIN: the server asks for more"
	assert_played
}

@test "a server that echoes what was sent is masked" {
	for sent in sesame "$(b64 sesame)" "$(b64 '\0alice\0sesame')"; do
		dialogue "SASL PLAIN" "C~ AUTH PLAIN *" \
		    "S: -ERR you said $sent"
		rc "auth plain"
		run_poplar -d
		expect_exit 77
		says "you said ****"
		assert_masked "$sent"
	done
}

@test "an answer to AUTH that is none: 76" {
	dialogue "SASL PLAIN" "C~ AUTH PLAIN *" "S: what?"
	rc "auth plain"
	run_poplar
	expect_exit 76
	says "login: AUTH PLAIN: the answer to AUTH is no reply: what?"
	assert_played
}

# offers SASL-LINE [poplarrc line ...]: under TLS, auth on; sets LOG.
offers() {
	tls_as server
	serve --tls implicit "${TLS[@]}" --resp "CAPA=+OK\\r\\n$1\\r\\n." \
	    --resp 'AUTH=-ERR no such mechanism'
	shift
	rc "tls on" "tls_trust_file $(certs)/ca.pem" "auth on" "$@"
	run_poplar -v
}

@test "auth on: USER where nothing is announced, or it is" {
	offers "TOP"
	expect_exit 0
	logged '^1 C: USER'
	stop_server
	offers 'USER\r\nSASL PLAIN'
	expect_exit 0
	logged '^1 C: USER'
}

@test "auth on: PLAIN where USER is not announced, and before LOGIN" {
	offers 'SASL LOGIN PLAIN'
	expect_exit 77
	logged '^1 C: AUTH PLAIN'
	[ "$(count_logged '^1 C: AUTH')" -eq 1 ]
	not logged 'C: PASS'
}

@test "auth on: PLAIN for a secret that USER cannot send" {
	offers 'USER\r\nSASL PLAIN' "passwordeval printf 'a\\rb\\n'"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -v
	expect_exit 77
	[[ $stderr == *"AUTH PLAIN"* ]]
}

@test "auth on: what is offered and then is not there, the next one tried" {
	# Too long for one line, so that nothing of it is sent with the command.
	offers 'SASL LOGIN PLAIN' "password $(printf 'p%.0s' {1..180})"
	expect_exit 77
	logged '^1 C: AUTH PLAIN$'
	logged '^1 C: AUTH LOGIN$'
	says "login: server says no to AUTH LOGIN: no such mechanism"
}

@test "auth on: a token is never what the password is taken for" {
	offers 'SASL XOAUTH2 OAUTHBEARER'
	expect_exit 69
	says "login: the server offers only XOAUTH2 OAUTHBEARER" \
	    "hint: it wants an access token"
	not logged -E 'AUTH|PASS'
}

@test "auth on: not a word of the password where TLS is not verified" {
	tls_as selfsigned
	serve --tls implicit "${TLS[@]}" --capa 'SASL PLAIN LOGIN' --apop
	rc "tls on" "tls_certcheck off" "auth on"
	run_poplar
	expect_exit 69
	says "login: no method is safe while the server's certificate is not" \
	    "hint: pin it with tls_fingerprint" "auth user"
	not logged -E 'AUTH|PASS|APOP'
}

@test "auth on: a key that is remembered, or pinned, is a check" {
	local pin
	tls_as selfsigned
	serve --tls implicit "${TLS[@]}"
	rc "tls on" "tls_certcheck off" "tls_trust_file tofu" "auth on"
	run_poplar
	expect_exit 0
	logged '^1 C: PASS sesame'
	pin=$(openssl x509 -in "$(certs)/selfsigned.pem" -noout -fingerprint \
	    -sha256)
	rc "tls on" "tls_certcheck off" "tls_fingerprint ${pin#*=}" "auth on"
	run_poplar
	expect_exit 0
	logged '^2 C: PASS sesame'
}

@test "auth on: no SASL in the clear, APOP if there is any" {
	serve --capa 'SASL PLAIN LOGIN CRAM-MD5 DIGEST-MD5'
	rc "auth on"
	run_poplar
	expect_exit 69
	says "login: no method is safe without TLS"
	not logged -E 'AUTH|PASS'
	stop_server
	serve --apop --capa 'SASL PLAIN LOGIN CRAM-MD5 DIGEST-MD5'
	rc "auth on"
	run_poplar
	expect_exit 0
	logged '^1 C: APOP'
}

has_gsasl() {
	"$POPLAR" --version | grep -q 'GNU SASL 2' ||
	    skip "built without GNU SASL"
}

@test "auth on: SCRAM that is offered and not there, then USER" {
	has_gsasl
	offers 'USER\r\nSASL PLAIN SCRAM-SHA-1 SCRAM-SHA-256'
	expect_exit 0
	logged '^1 C: AUTH SCRAM-SHA-256 '
	logged '^1 C: AUTH SCRAM-SHA-1 '
	logged '^1 C: USER alice'
	[[ $stderr == *"login: SCRAM-SHA-256 ("*"no such mechanism"* ]]
}

@test "auth on: a user whom SCRAM does not know is not tried in another way" {
	has_gsasl
	tls_as server
	serve --tls implicit "${TLS[@]}" --capa 'SASL SCRAM-SHA-256' \
	    --resp 'AUTH=-ERR [AUTH] who are you?'
	rc "tls on" "tls_trust_file $(certs)/ca.pem" "auth on"
	run_poplar
	expect_exit 77
	not logged 'C: PASS'
}

@test "auth on: a certificate that names nobody leaves it to the password" {
	local dir
	dir=$(certs)
	tls_as server
	serve --tls implicit "${TLS[@]}" --tls-client-ca "$dir/ca.pem" \
	    --resp 'CAPA=+OK\r\nUSER\r\nUIDL\r\nSASL EXTERNAL\r\n.' \
	    --resp 'AUTH=-ERR [AUTH] who is that?'
	rc "tls on" "tls_trust_file $dir/ca.pem" "auth on" \
	    "tls_cert_file $dir/client.pem" "tls_key_file $dir/client.key"
	run_poplar
	expect_exit 0
	logged '^1 C: AUTH EXTERNAL '
	logged '^1 C: PASS sesame'
	run_poplar --auth=external
	expect_exit 77
	says "server says no to AUTH EXTERNAL: [AUTH] who is that?" \
	    "hint: does the certificate in tls_cert_file say"
	stop_server
	serve --capa 'SASL EXTERNAL' --resp 'AUTH=-ERR [AUTH] who is that?'
	rc "auth external"
	run_poplar
	expect_exit 77
	says "hint: AUTH EXTERNAL takes a certificate: tls_cert_file"
}

@test "auth on: a no for now is not tried in another way" {
	has_gsasl
	tls_as server
	serve --tls implicit "${TLS[@]}" --capa 'SASL SCRAM-SHA-256' \
	    --resp 'AUTH=-ERR maildrop locked'
	rc "tls on" "tls_trust_file $(certs)/ca.pem" "auth on"
	run_poplar
	expect_exit 75
	not logged 'C: PASS'
}

@test "auth on: what is announced before STLS counts for nothing" {
	has_gsasl
	tls_as server
	serve --tls stls "${TLS[@]}" \
	    --resp 'CAPA#1=+OK\r\nSTLS\r\nSASL CRAM-MD5 XOAUTH2\r\n.' \
	    --resp 'CAPA=+OK\r\nUIDL\r\nSASL SCRAM-SHA-256\r\n.' \
	    --resp 'AUTH=-ERR [AUTH] no'
	rc "tls on" "tls_starttls on" "tls_trust_file $(certs)/ca.pem" "auth on"
	run_poplar
	expect_exit 77
	logged '^1 C: AUTH SCRAM-SHA-256 '
}

@test "auth on: CRAM-MD5 under TLS if there is nothing else" {
	has_gsasl
	offers 'SASL CRAM-MD5 NTLM GSSAPI XOAUTH2'
	expect_exit 77
	logged '^1 C: AUTH CRAM-MD5$'
	[ "$(count_logged '^1 C: AUTH')" -eq 1 ]
	stop_server
	: >"$LOG"
	offers 'SASL NTLM GSSAPI XOAUTH2'
	expect_exit 69
	not logged -E 'AUTH|PASS'
}

@test "auth on: SCRAM without TLS, before APOP" {
	has_gsasl
	serve --apop --capa 'SASL PLAIN SCRAM-SHA-256' \
	    --resp 'AUTH=-ERR unsupported'
	rc "auth on"
	run_poplar
	expect_exit 0
	logged '^1 C: AUTH SCRAM-SHA-256 '
	logged '^1 C: APOP'
	not logged -E 'PLAIN|PASS'
}

# scram_says MESSAGE: what it says to the client's first message, and that the
# client then ends the exchange.
scram_says() {
	dialogue "SASL SCRAM-SHA-256" "C~ AUTH SCRAM-SHA-256 *" \
	    "S: + $(printf %s "$1" | base64 -w 0)" "C: *"
	rc "auth scram-sha-256"
	run_poplar
	expect_exit 76
	says "login: AUTH SCRAM-SHA-256: ${*:2}"
	assert_played
}

@test "scram: an iteration count that is an attack is refused at once" {
	has_gsasl
	scram_says "r=x,s=c2FsdA==,i=0" "the server wants an iteration count"
	scram_says "r=x,s=c2FsdA==,i=-4096" "the server wants an iteration"
	scram_says "r=x,s=c2FsdA==,i=1000001" "the server wants an iteration"
	SECONDS=0
	scram_says "r=x,s=c2FsdA==,i=2147483647" "the server wants an"
	[ "$SECONDS" -lt 5 ]
	scram_says "r=x,s=c2FsdA==" "the challenge is none of SCRAM"
	scram_says "e=unknown-user" "the challenge is none of SCRAM"
}

@test "auth on: SCRAM of few iterations is refused where anybody may ask" {
	local few
	has_gsasl
	few=$(printf %s "r=x,s=c2FsdA==,i=4095" | base64 -w 0)
	dialogue "SASL SCRAM-SHA-256" "C~ AUTH SCRAM-SHA-256 *" "S: + $few" \
	    "C: *"
	rc "auth on"
	run_poplar
	expect_exit 76
	says "an iteration count that is not from 4096 to 1000000" \
	    "hint: name the method in place of auth on"
	assert_played
}

@test "scram: a nonce that is not ours is refused" {
	has_gsasl
	scram_says "r=stolen,s=c2FsdA==,i=4096" ""
}

@test "scram: a yes without a proof is none" {
	has_gsasl
	dialogue "SASL SCRAM-SHA-256" "C~ AUTH SCRAM-SHA-256 *" "S: +OK"
	rc "auth scram-sha-256"
	run_poplar
	expect_exit 76
	says "login: AUTH SCRAM-SHA-256: the server says yes before"
	assert_played
}

@test "scram-plus without TLS is refused before anything is sent" {
	has_gsasl
	dialogue "SASL SCRAM-SHA-256-PLUS"
	rc "auth scram-sha-256-plus"
	run_poplar
	expect_exit 69
	says "login: AUTH SCRAM-SHA-256-PLUS: there is nothing to bind it to"
	assert_played
}

@test "a challenge that is too long, or no base64: 76" {
	has_gsasl
	dialogue "SASL CRAM-MD5" "C: AUTH CRAM-MD5" \
	    "S: + $(head -c 20000 /dev/zero | base64 -w 0)" "C: *"
	rc "auth cram-md5"
	run_poplar
	expect_exit 76
	says "login: AUTH CRAM-MD5: a challenge of more than 16384 octets"
	assert_played
	dialogue "SASL CRAM-MD5" "C: AUTH CRAM-MD5" "S: + <no base64>" "C: *"
	run_poplar
	rc "auth cram-md5"
	run_poplar
	expect_exit 76
	says "login: AUTH CRAM-MD5: the challenge is no base64"
}

# digest_realm N: a challenge with a realm of so many octets.
digest_realm() {
	b64 "realm=\"$(printf '%*s' "$1" '' | tr ' ' r)\",nonce=\"n\",qop=\"auth\",algorithm=md5-sess,charset=utf-8"
}

@test "digest-md5: a challenge is bounded, whatever its length (CVE-2013-0249)" {
	has_gsasl
	dialogue "SASL DIGEST-MD5" "C: AUTH DIGEST-MD5" \
	    "S: + $(digest_realm 1000)" ANY "S: -ERR no"
	rc "auth digest-md5"
	run_poplar
	expect_exit 77
	assert_played
	dialogue "SASL DIGEST-MD5" "C: AUTH DIGEST-MD5" \
	    "S: + $(digest_realm 12000)" "C: *"
	rc "auth digest-md5"
	run_poplar
	expect_exit 76
	says "login: AUTH DIGEST-MD5: "
	assert_played
	dialogue "SASL DIGEST-MD5" "C: AUTH DIGEST-MD5" \
	    "S: + $(digest_realm 20000)" "C: *"
	rc "auth digest-md5"
	run_poplar
	expect_exit 76
	says "login: AUTH DIGEST-MD5: a challenge of more than 16384 octets"
	assert_played
}

@test "cram-md5: the example of RFC 2195" {
	has_gsasl
	dialogue "SASL CRAM-MD5" "C: AUTH CRAM-MD5" \
	    "S: + $(b64 '<1896.697170952@postoffice.reston.mci.net>')" \
	    "C: $(b64 'tim b913a602c7eda7a495b4e6e7334d3890')" "S: +OK" \
	    "$(empty_steps)"
	rc "auth cram-md5" "user tim" "password tanstaaftanstaaf"
	run_poplar
	expect_exit 0
	assert_played
}

@test "ntlm: three messages, with the domain in the first" {
	has_gsasl
	dialogue "SASL NTLM" "C: AUTH NTLM" "S: +" "C~ TlRMTVNTUAAB*" \
	    "S: + TlRMTVNTUAACAAAADgAOADgAAAAFgomiASNFZ4mrze8AAAAAAAAAAAAAAABGAAAABgBwFwAAAA9FAFgAQQBNAFAATABFAA==" \
	    "C~ TlRMTVNTUAAD*" "S: +OK" "$(empty_steps)"
	rc "auth ntlm" "ntlmdomain WORK"
	run_poplar
	expect_exit 0
	assert_played
}

@test "ntlm: lengths beyond the end of the challenge (CVE-2012-3482)" {
	local challenge
	has_gsasl
	# Target names at 5,000 and at 31 of 32 octets, and 24 octets in all.
	for challenge in TlRMTVNTUAACAAAADgAOAIgTAAAFggmiASNFZ4mrze8= \
	    TlRMTVNTUAACAAAADgAOAB8AAAAFggmiASNFZ4mrze8= \
	    TlRMTVNTUAACAAAAAAAAACAAAAAFggmi; do
		dialogue "SASL NTLM" "C: AUTH NTLM" "S: +" \
		    "C~ TlRMTVNTUAAB*" "S: + $challenge" "C: *"
		rc "auth ntlm"
		run_poplar
		expect_exit 76
		says "login: AUTH NTLM: the challenge is none of NTLM"
		assert_played
	done
}

@test "gssapi without a ticket: 77, and kinit" {
	has_gsasl
	dialogue "SASL GSSAPI"
	rc "auth gssapi"
	sed -i '/^password /d' "$HOME/.poplarrc"
	KRB5_CONFIG=/dev/null KRB5CCNAME=FILE:$HOME/none run_poplar
	expect_exit 77
	says "login: AUTH GSSAPI: no ticket" "hint: get one with kinit"
	assert_played
}

@test "a method of GNU SASL in a build without it: 78, and what is missing" {
	"$POPLAR" --version | grep -q 'no GNU SASL' ||
	    skip "built with GNU SASL"
	dialogue "SASL SCRAM-SHA-256"
	rc "auth scram-sha-256"
	run_poplar
	expect_exit 78
	says "login: SCRAM-SHA-256 needs GNU SASL"
}

# bound [popd option ...]: SCRAM of every kind is offered, under TLS.
bound() {
	message m1 one
	tls_as server
	: >"$LOG"
	serve --tls implicit "${TLS[@]}" --user alice:sesame --sasl \
	    "SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS" "$@"
}

rc_bound() {
	rm -rf "$HOME/Maildir" "$HOME/.local"
	rc "tls on" "tls_trust_file $(certs)/ca.pem" "$@"
}

@test "scram-plus: bound to the session of TLS 1.3 and of TLS 1.2" {
	has_gsasl
	bound
	for version in 1.3 1.2; do
		for method in scram-sha-1-plus scram-sha-256-plus; do
			rc_bound "auth $method" \
			    "tls_priorities NORMAL:-VERS-ALL:+VERS-TLS$version"
			run_poplar
			expect_exit 0
			assert_maildir_equals_box
		done
	done
	logged '^1 tls TLS1.3'
	logged '^3 tls TLS1.2'
	sed -n 's/^1 C: AUTH SCRAM-SHA-1-PLUS //p' "$LOG" | base64 -d |
	    grep -q '^p=tls-exporter,,n=alice,'
	sed -n 's/^3 C: AUTH SCRAM-SHA-1-PLUS //p' "$LOG" | base64 -d |
	    grep -q '^p=tls-unique,,n=alice,'
}

@test "scram-plus: TLS 1.2 without extended master secret binds nothing" {
	has_gsasl
	bound
	rc_bound "auth scram-sha-256-plus" "tls_priorities \
NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_SESSION_HASH"
	run_poplar
	expect_exit 69
	says "there is nothing to bind it to"
	not logged AUTH
	rc_bound "auth on" "tls_priorities \
NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_SESSION_HASH"
	run_poplar -v
	expect_exit 0
	logged '^2 C: AUTH SCRAM-SHA-256 '
}

@test "scram-plus: somebody between is found out, and nothing else tried" {
	has_gsasl
	bound --sasl-other-tls
	for method in on scram-sha-256-plus; do
		rc_bound "auth $method" "tls_certcheck off"
		run_poplar
		expect_exit 77
		says "login: server says no to AUTH SCRAM-SHA-256-PLUS"
	done
	[ "$(count_logged 'C: AUTH')" -eq 2 ]
	not logged 'C: PASS'
}

@test "auth on: SCRAM-SHA-256-PLUS is the best there is" {
	has_gsasl
	bound
	rc_bound "auth on"
	run_poplar -v
	expect_exit 0
	[[ $stderr == *"login: SCRAM-SHA-256-PLUS ("* ]]
	assert_maildir_equals_box
}

@test "scram with a password of UTF-8, and one that SASLprep forbids" {
	has_gsasl
	serve --user $'alice:s\u00e9same \u2460' --sasl SCRAM-SHA-256
	message m1 one
	rc "auth scram-sha-256" $'password s\u00e9same \u2460'
	run_poplar
	expect_exit 0
	rc "auth scram-sha-256" $'password s\xffsame'
	run_poplar
	expect_exit 78
	says "user or password has a character that SASL does not allow" \
	    "hint: auth user sends them as they are, for use under TLS"
}
