/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "base/wait.h"
#include "peer.h"
#include "tap.h"
#include "wire/socks.h"

#define PATIENCE 10000 /* ms; no test should need it */
#define HOST "pop.example.org"
#define TAKES "\5\0"
#define ASKED "\5\1\0\3\017" HOST "\3\343" /* CONNECT, port 995 */
#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* What a proxy gets and says in turn; "" ends it. */
struct turn {
	const char *gets;
	size_t n_gets;
	const char *says;
	size_t n_says;
};

#define TURN(gets, says)                                       \
	{                                                      \
		gets, sizeof(gets) - 1, says, sizeof(says) - 1 \
	}

static const struct turn *turns; /* of the proxy that is to start */
static size_t drip;		 /* its octets are so many ms apart */

static void
play(gnutls_session_t session, int fd)
{
	char got[600];

	(void)session;
	for (const struct turn *turn = turns; turn->n_gets > 0; turn++) {
		size_t n = 0, piece;
		ssize_t r = 1;

		while (n < turn->n_gets && r > 0) {
			r = read(fd, got + n, turn->n_gets - n);
			n += r > 0 ? (size_t)r : 0;
		}
		if (n != turn->n_gets || memcmp(got, turn->gets, n) != 0)
			_exit(1);
		for (n = 0; n < turn->n_says; n += piece) {
			if (drip > 0)
				poll(NULL, 0, (int)drip);
			piece = drip > 0 ? 1 : turn->n_says;
			if (write(fd, turn->says + n, piece) != (ssize_t)piece)
				_exit(2);
		}
	}
	_exit(0);
}

/* Silence until we are gone. */
static void
stay(gnutls_session_t session, int fd)
{
	char byte;

	(void)session;
	while (read(fd, &byte, 1) > 0)
		continue;
}

static struct socks_params
plain(void)
{
	return (struct socks_params){.host = HOST, .port = 995};
}

static struct socks_params
with_login(void)
{
	return (struct socks_params){.host = HOST,
	    .port = 995,
	    .user = "joe",
	    .password = "p\xc3\xa4\"ss"};
}

static int
talk(const struct turn *script, const struct socks_params *params, int64_t time,
    struct err *error)
{
	struct peer peer;
	int status, proxy;

	*error = (struct err){0};
	turns = script;
	peer = peer_start(script != NULL ? play : stay);
	fcntl(peer.fd, F_SETFL, O_NONBLOCK);
	status = socks_connect(peer.fd, params, wait_clock() + time, error);
	if (script != NULL && status == 0) {
		/* What comes behind the reply is left for others. */
		char rest[16] = "";

		fcntl(peer.fd, F_SETFL, 0);
		for (char *at = rest; read(peer.fd, at, 1) == 1; at++)
			continue;
		tap_is(rest, "+OK", "the server's words are untouched");
	}
	close(peer.fd);
	proxy = peer_end(&peer);
	tap_ok(proxy == 0, "the proxy got what it should: %d", proxy);
	if (error->text[0] != '\0')
		printf("# %s\n", error->text);
	return status;
}

static void
connects(const struct turn *script, struct socks_params params, const char *how)
{
	struct err error;

	tap_ok(
	    talk(script, &params, PATIENCE, &error) == 0, "connects: %s", how);
}

static void
test_connects(void)
{
	static const struct turn name[] = {
	    TURN("\5\1\0", TAKES), TURN(ASKED, "\5\0\0\1\0\0\0\0\0\0+OK"), {0}};
	static const struct turn ipv4[] = {TURN("\5\1\0", TAKES),
	    TURN("\5\1\0\1\300\0\2\1\0\156", "\5\0\0\3\013proxy.local\1\2+OK"),
	    {0}};
	static const struct turn ipv6[] = {TURN("\5\1\0", TAKES),
	    TURN("\5\1\0\4\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1\3\343",
		"\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0+OK"),
	    {0}};
	static const struct turn zone[] = {TURN("\5\1\0", TAKES),
	    TURN("\5\1\0\3\014fe80::1%eth0\3\343", "\5\0\0\3\0\0\0+OK"), {0}};
	static const struct turn login[] = {TURN("\5\2\0\2", "\5\2"),
	    TURN("\1\3joe\6p\xc3\xa4\"ss", "\1\0"),
	    TURN(ASKED, "\5\0\0\1\0\0\0\0\0\0+OK"), {0}};
	static const struct turn no_login[] = {TURN("\5\2\0\2", TAKES),
	    TURN(ASKED, "\5\0\0\1\0\0\0\0\0\0+OK"), {0}};

	connects(name, plain(), "a name, resolved by the proxy");
	connects(ipv4, (struct socks_params){.host = "192.0.2.1", .port = 110},
	    "an IPv4 address");
	connects(ipv6,
	    (struct socks_params){.host = "2001:db8::1", .port = 995},
	    "an IPv6 address");
	connects(zone,
	    (struct socks_params){.host = "fe80::1%eth0", .port = 995},
	    "an address with a zone is a name");
	connects(login, with_login(), "with user and password");
	connects(
	    no_login, with_login(), "a login that the proxy does not want");
	drip = 2;
	connects(login, with_login(), "octet by octet");
	drip = 0;
}

static void
refuses(const struct turn *script, struct socks_params params,
    enum err_class class, const char *text)
{
	struct err error;

	tap_ok(talk(script, &params, PATIENCE, &error) == -1 &&
		error.class == class && strstr(error.text, text) != NULL,
	    "refused: %s", text);
}

static void
test_replies(void)
{
	static const struct {
		enum err_class class;
		const char *text;
	} rows[] = {
	    {ERR_TEMPFAIL, "port 995: general SOCKS server failure"},
	    {ERR_UNAVAILABLE, "port 995: connection not allowed by ruleset"},
	    {ERR_UNAVAILABLE, "port 995: network unreachable"},
	    {ERR_UNAVAILABLE, "port 995: host unreachable"},
	    {ERR_UNAVAILABLE, "port 995: connection refused"},
	    {ERR_TEMPFAIL, "port 995: TTL expired"},
	    {ERR_UNAVAILABLE, "port 995: command not supported"},
	    {ERR_UNAVAILABLE, "port 995: address type not supported"},
	    {ERR_UNAVAILABLE, "port 995: reply 0x09"},
	};
	char whole[] = "\5\1\0\1\0\0\0\0\0\0";
	struct turn script[] = {TURN("\5\1\0", TAKES), TURN(ASKED, ""), {0}};

	for (size_t i = 0; i < N_OF(rows); i++) {
		whole[1] = (char)(i + 1);
		script[1].says = whole;
		/* Some say no more than the code. */
		script[1].n_says = i % 2 == 0 ? sizeof(whole) - 1 : 2;
		refuses(script, plain(), rows[i].class, rows[i].text);
	}
}

static void
test_logins(void)
{
	static const struct turn wanted[] = {TURN("\5\1\0", "\5\377"), {0}};
	static const struct turn other[] = {TURN("\5\2\0\2", "\5\377"), {0}};
	static const struct turn wrong[] = {TURN("\5\2\0\2", "\5\2"),
	    TURN("\1\3joe\6p\xc3\xa4\"ss", "\1\1"), {0}};
	static const struct turn unasked[] = {TURN("\5\1\0", "\5\2"), {0}};
	static const struct turn gssapi[] = {TURN("\5\2\0\2", "\5\1"), {0}};
	static const struct turn takes[] = {TURN("\5\2\0\2", "\5\2"), {0}};
	struct socks_params params = with_login();
	char text[300];

	refuses(wanted, plain(), ERR_NOPERM, "it wants a login");
	refuses(other, params, ERR_NOPERM, "accepts no method that we have");
	refuses(wrong, params, ERR_NOPERM, "refused the user and the password");
	refuses(unasked, plain(), ERR_PROTOCOL, "it chose the method 0x02");
	refuses(gssapi, params, ERR_PROTOCOL, "it chose the method 0x01");
	memset(text, 'x', 256);
	text[256] = '\0';
	params.password = text;
	refuses(takes, params, ERR_CONFIG, "at most 255 octets");
	params.password = "";
	refuses(takes, params, ERR_CONFIG, "at most 255 octets");
}

static void
test_nonsense(void)
{
	static const struct turn http[] = {
	    TURN("\5\1\0", "HTTP/1.1 400 Bad Request\r\n\r\n"), {0}};
	static const struct turn socks4[] = {TURN("\5\1\0", "\0\133"), {0}};
	static const struct turn version[] = {
	    TURN("\5\1\0", TAKES), TURN(ASKED, "\4\0\0\1\0\0\0\0\0\0"), {0}};
	static const struct turn type[] = {
	    TURN("\5\1\0", TAKES), TURN(ASKED, "\5\0\0\2\0\0\0\0\0\0"), {0}};
	static const struct turn none[] = {TURN("\5\1\0", ""), {0}};
	static const struct turn half[] = {TURN("\5\1\0", "\5"), {0}};
	static const struct turn truncated[] = {
	    TURN("\5\1\0", TAKES), TURN(ASKED, "\5\0\0\3\377not so long"), {0}};
	static const struct turn takes[] = {TURN("\5\1\0", TAKES), {0}};
	struct socks_params params = plain();
	char name[300];

	refuses(http, plain(), ERR_PROTOCOL,
	    "no SOCKS5 proxy: its first octet "
	    "is 0x48");
	refuses(socks4, plain(), ERR_PROTOCOL, "its first octet is 0x00");
	refuses(version, plain(), ERR_PROTOCOL, "its reply begins with 0x04");
	refuses(type, plain(), ERR_PROTOCOL, "an address of type 0x02");
	refuses(none, plain(), ERR_TEMPFAIL, "it closed the connection");
	refuses(half, plain(), ERR_TEMPFAIL, "it closed the connection");
	refuses(truncated, plain(), ERR_TEMPFAIL, "it closed the connection");
	memset(name, 'x', 256);
	name[256] = '\0';
	params.host = name;
	refuses(takes, params, ERR_CONFIG, "name of more than 255 octets");
}

static void
test_time(void)
{
	struct socks_params params = plain();
	int64_t before = wait_clock();
	struct err error;

	tap_ok(talk(NULL, &params, 50, &error) == -1 &&
		error.class == ERR_TEMPFAIL,
	    "silence ends in time: %s", error.text);
	tap_ok(wait_clock() - before < PATIENCE, "... in time");
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	test_connects();
	test_replies();
	test_logins();
	test_nonsense();
	test_time();
	return tap_done();
}
