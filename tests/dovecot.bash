# SPDX-License-Identifier: ISC
# Dovecot's pop3d for bats tests, started as whoever runs them.
# shellcheck shell=bash

# Sets DOVECOT, DIR and whose the parts are, or skips the test.
find_dovecot() {
	DOVECOT=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v dovecot) ||
	    skip "dovecot is not installed"
	[ -d /usr/lib/dovecot/modules ] || [ -d /usr/lib/dovecot ] ||
	    skip "dovecot has another layout here"
	find /usr/lib/dovecot /usr/libexec/dovecot -name pop3 2>/dev/null |
	    grep -q . || skip "dovecot-pop3d is not installed"
	[[ $("$DOVECOT" --version) == 2.[0-3].* ]] ||
	    skip "the configuration here is for Dovecot before 2.4"
	if [ "$(id -u)" -eq 0 ]; then
		# Dovecot opens no mailbox as root, and its users must get at
		# what is theirs.
		for user in dovecot dovenull nobody; do
			id -u "$user" >/dev/null 2>&1 ||
			    skip "as root, the user $user is needed"
		done
		INTERNAL=dovecot LOGIN=dovenull OWNER=nobody
	else
		INTERNAL=$(id -un) LOGIN=$(id -un) OWNER=$(id -un)
	fi
	# The sockets of Dovecot need a short path that others may pass.
	DIR=$(mktemp -d /tmp/poplar-dovecot.XXXXXX)
	chmod 755 "$DIR"
}

# start_dovecot MECHANISMS [passdb file ...]: sets PORT and TLS_PORT; what
# stands in the files comes after the rest of the configuration.
start_dovecot() {
	local mechanisms=$1
	shift
	PORT=$(free_port)
	TLS_PORT=$(free_port)
	"$POPD" cert "$DIR/certs"
	{
		dovecot_configuration "$mechanisms"
		cat /dev/null "$@"
	} >"$DIR/dovecot.conf"
	printf 'alice:{PLAIN}sesame:%s:%s::%s::\n' "$(id -u "$OWNER")" \
	    "$(id -g "$OWNER")" "$DIR/mail" >"$DIR/users"
	"$DOVECOT" -F -c "$DIR/dovecot.conf" >"$DIR/output" 2>&1 3>&- \
	    </dev/null &
	pids+=("$!")
	eventually listens "$PORT" || {
		cat "$DIR/output" "$DIR/log" >&2
		return 1
	}
}

dovecot_configuration() {
	cat <<-EOF
		base_dir = $DIR/run
		state_dir = $DIR/state
		log_path = $DIR/log
		protocols = pop3
		listen = 127.0.0.1
		default_internal_user = $INTERNAL
		default_internal_group = $(id -gn "$INTERNAL")
		default_login_user = $LOGIN
		first_valid_uid = 1
		first_valid_gid = 1
		ssl = yes
		ssl_cert = <$DIR/certs/server.pem
		ssl_key = <$DIR/certs/server.key
		ssl_dh =
		disable_plaintext_auth = no
		auth_mechanisms = $1
		mail_location = maildir:$DIR/mail
		passdb {
		  driver = passwd-file
		  args = scheme=PLAIN $DIR/users
		}
		userdb {
		  driver = passwd-file
		  args = $DIR/users
		}
		service pop3-login {
		  chroot =
		  inet_listener pop3 {
		    port = $PORT
		  }
		  inet_listener pop3s {
		    port = $TLS_PORT
		    ssl = yes
		  }
		}
		service anvil {
		  chroot =
		}
		service stats {
		  chroot =
		}
	EOF
}

stop_dovecot() {
	poplar_teardown
	[ -z "${DIR:-}" ] || rm -rf "$DIR"
}
