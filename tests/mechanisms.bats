#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Every SASL mechanism against a server that is not ours.

load lib
load dovecot

MECHANISMS="plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256 apop
    external xoauth2 oauthbearer"

setup() {
	poplar_setup
	find_dovecot
	message m1 one
	mkdir -p "$DIR/mail/new" "$DIR/mail/cur" "$DIR/mail/tmp"
	as_delivered "$BOX/m1" >"$DIR/mail/new/1700000001.m1.host"
	[ "$(id -u)" -ne 0 ] || chown -R "$OWNER" "$DIR/mail"
	write_oauth2
	[[ $BATS_TEST_DESCRIPTION != *gssapi* ]] || start_kdc
	start_dovecot "${MECHANISMS//$'\n'/ }" "$DIR/more.conf"
}

teardown() {
	stop_dovecot
}

# Tokens are checked where they come in, by a key that both sides know.
write_oauth2() {
	mkdir -p "$DIR/keys/default/HS256"
	printf secret-of-the-issuer | base64 -w 0 >"$DIR/keys/default/HS256/default"
	chmod -R a+rX "$DIR/keys"
	cat >"$DIR/oauth2.conf" <<-EOF
		introspection_mode = local
		local_validation_key_dict = fs:posix:prefix=$DIR/keys/
		username_attribute = sub
	EOF
	cat >"$DIR/more.conf" <<-EOF
		passdb {
		  driver = oauth2
		  mechanisms = xoauth2 oauthbearer
		  args = $DIR/oauth2.conf
		}
		auth_failure_delay = 0
		service anvil {
		  unix_listener anvil-auth-penalty {
		    mode = 0
		  }
		}
		ssl_ca = <$DIR/certs/ca.pem
		ssl_verify_client_cert = yes
		ssl_require_crl = no
		auth_ssl_username_from_cert = yes
		ssl_cert_username_field = commonName
		passdb {
		  driver = static
		  mechanisms = external
		  args = nopassword=y
		}
	EOF
}

# A realm of our own: alice, whose password is sesame, and the server.
start_kdc() {
	local program kdc_port
	PATH=$PATH:/usr/sbin
	for program in krb5kdc kadmin.local kdb5_util kinit; do
		command -v "$program" >/dev/null ||
		    skip "$program is not installed"
	done
	[ -e /usr/lib/dovecot/modules/auth/libmech_gssapi.so ] ||
	    skip "dovecot-gssapi is not installed"
	kdc_port=$(free_port)
	export KRB5_CONFIG=$DIR/krb5.conf KRB5_KDC_PROFILE=$DIR/kdc.conf
	export KRB5CCNAME=FILE:$DIR/tickets
	mkdir "$DIR/kdc"
	cat >"$KRB5_CONFIG" <<-EOF
		[libdefaults]
		  default_realm = EXAMPLE.ORG
		  dns_lookup_kdc = false
		  dns_lookup_realm = false
		  dns_canonicalize_hostname = false
		  rdns = false
		[realms]
		  EXAMPLE.ORG = {
		    kdc = 127.0.0.1:$kdc_port
		  }
		[domain_realm]
		  localhost = EXAMPLE.ORG
	EOF
	cat >"$KRB5_KDC_PROFILE" <<-EOF
		[kdcdefaults]
		  kdc_listen = 127.0.0.1:$kdc_port
		  kdc_tcp_listen = 127.0.0.1:$kdc_port
		[realms]
		  EXAMPLE.ORG = {
		    database_name = $DIR/kdc/principal
		    key_stash_file = $DIR/kdc/stash
		    acl_file = $DIR/kdc/acl
		  }
		[logging]
		  kdc = FILE:$DIR/kdc/log
	EOF
	kdb5_util create -s -P master -r EXAMPLE.ORG
	kadmin.local -q "addprinc -pw sesame alice"
	kadmin.local -q "addprinc -randkey pop/localhost"
	kadmin.local -q "ktadd -k $DIR/keytab pop/localhost"
	chmod a+r "$DIR/keytab"
	krb5kdc -n -r EXAMPLE.ORG >"$DIR/kdc/output" 2>&1 3>&- </dev/null &
	pids+=("$!")
	eventually listens "$kdc_port"
	MECHANISMS+=" gssapi"
	cat >>"$DIR/more.conf" <<-EOF
		auth_krb5_keytab = $DIR/keytab
		auth_gssapi_hostname = localhost
		auth_realms = EXAMPLE.ORG
		import_environment = KRB5_CONFIG=$DIR/krb5.conf
	EOF
}

base64url() {
	base64 -w 0 | tr '+/' '-_' | tr -d '='
}

# jwt SECONDS: a token of the issuer's for alice that is good for so long.
jwt() {
	local now head body
	now=$(date +%s)
	head=$(printf '{"alg":"HS256","typ":"JWT","kid":"default"}' | base64url)
	body=$(printf '{"sub":"alice","iat":%d,"exp":%d}' "$((now - 10))" \
	    "$((now + $1))" | base64url)
	printf '%s.%s.%s\n' "$head" "$body" "$(printf %s "$head.$body" |
	    openssl dgst -sha256 -hmac secret-of-the-issuer -binary |
	    base64url)"
}

# by METHOD [poplarrc line ...]: it logs in, and gets the message.
by() {
	rm -rf "$HOME/Maildir" "$HOME/.local"
	rc "auth $1" "${@:2}"
	run_poplar -v
	expect_exit 0
	[ "$1" = on ] ||
	    [[ $stderr == *"login: ${1^^} (as the account says)"* ]]
	assert_maildir_equals_box
}

# not_by METHOD [poplarrc line ...]: it is refused.
not_by() {
	rc "auth $1" "password wrong" "${@:2}"
	run_poplar -d
	expect_exit 77
	says "login: server says no to " "[AUTH]"
	[[ $stderr != *"$(printf %s wrong | base64)"* ]]
}

has_gsasl() {
	"$POPLAR" --version | grep -q 'GNU SASL 2' ||
	    skip "built without GNU SASL"
}

@test "dovecot: plain and login, right and wrong" {
	by plain
	by login
	not_by plain
	not_by login
}

@test "dovecot: cram-md5, digest-md5" {
	has_gsasl
	by cram-md5
	by digest-md5
	not_by cram-md5
	not_by digest-md5
}

@test "dovecot: scram-sha-1, scram-sha-256" {
	has_gsasl
	by scram-sha-1
	by scram-sha-256
	not_by scram-sha-1
	not_by scram-sha-256
}

@test "dovecot: xoauth2 and oauthbearer, a good token and a bad one" {
	command -v openssl >/dev/null || skip "openssl is not installed"
	by xoauth2 "password $(jwt 600)"
	by oauthbearer "password $(jwt 600)"
	not_by xoauth2 "password $(jwt -5)"
	says '({"status":"401",'
	not_by oauthbearer "password $(jwt -5)"
	says '({"status":"invalid_token"'
}

@test "dovecot: an expired token, and the helper's next one" {
	command -v openssl >/dev/null || skip "openssl is not installed"
	jwt -5 >"$HOME/expired"
	jwt 600 >"$HOME/fresh"
	rc "auth oauthbearer" "passwordeval cat ~/token; cp ~/fresh ~/token"
	sed -i '/^password /d' "$HOME/.poplarrc"
	cp "$HOME/expired" "$HOME/token"
	run_poplar -v
	expect_exit 0
	[[ $stderr == *"once more, with a new token"* ]]
	assert_maildir_equals_box
}

@test "dovecot: external, by the client certificate alone" {
	PORT=$TLS_PORT
	local tls=("tls on" "tls_trust_file $DIR/certs/ca.pem")
	local ours=("tls_cert_file $DIR/certs/client.pem"
	    "tls_key_file $DIR/certs/client.key")
	rc "auth external" "${tls[@]}" "${ours[@]}"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -v
	expect_exit 0
	assert_maildir_equals_box
	by on "${tls[@]}" "${ours[@]}"
	[[ $stderr == *"login: EXTERNAL (the client certificate"* ]]
	rc "auth external" "${tls[@]}"
	run_poplar
	expect_exit 77
	rc "auth external" "user bob" "${tls[@]}" "${ours[@]}"
	run_poplar
	expect_exit 77
}

@test "dovecot: auth on takes SCRAM, without TLS and with it" {
	has_gsasl
	by on
	[[ $stderr == *"login: SCRAM-SHA-256 (no secret"* ]]
	PORT=$TLS_PORT
	by on "tls on" "tls_trust_file $DIR/certs/ca.pem"
	[[ $stderr == *"login: SCRAM-SHA-256 (no secret"* ]]
}

@test "dovecot: auth on over a connection that is not verified" {
	has_gsasl
	PORT=$TLS_PORT
	by on "tls on" "tls_certcheck off"
	[[ $stderr == *"login: SCRAM-SHA-256 (no secret"* ]]
}

@test "dovecot: gssapi with a ticket of Kerberos, and with another's" {
	has_gsasl
	echo sesame | kinit alice
	rc "host localhost" "auth gssapi"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -d
	expect_exit 0
	assert_maildir_equals_box
	rc "host localhost" "auth gssapi" "user bob"
	run_poplar
	expect_exit 77
	says "login: server says no to AUTH GSSAPI"
}
