/* SPDX-License-Identifier: ISC */
#include "wire/socks.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "base/wait.h"
#include "wire/name.h"

#define SOCKS_VERSION 5
#define LOGIN_VERSION 1
#define COMMAND_CONNECT 1
#define FIELD_MAX 255 /* octets: a length is one octet */
#define NAME_SHOWN_MAX 256

enum method {
	METHOD_NONE = 0,  /* no authentication */
	METHOD_LOGIN = 2, /* RFC 1929 */
	METHOD_REFUSED = 0xff,
};

enum address_type {
	ADDRESS_IPV4 = 1,
	ADDRESS_NAME = 3,
	ADDRESS_IPV6 = 4,
};

/* RFC 1928, section 6, in its words. */
static const struct reply {
	unsigned char code;
	enum err_class class;
	const char *text;
} replies[] = {
    {1, ERR_TEMPFAIL, "general SOCKS server failure"},
    {2, ERR_UNAVAILABLE, "connection not allowed by ruleset"},
    {3, ERR_UNAVAILABLE, "network unreachable"},
    {4, ERR_UNAVAILABLE, "host unreachable"},
    {5, ERR_UNAVAILABLE, "connection refused"},
    {6, ERR_TEMPFAIL, "TTL expired"},
    {7, ERR_UNAVAILABLE, "command not supported"},
    {8, ERR_UNAVAILABLE, "address type not supported"},
};

struct dialogue {
	int fd;
	const struct socks_params *params;
	int64_t until;
	struct err *err;
	unsigned char out[2 + 2 * (1 + FIELD_MAX)];
	size_t n; /* octets of it */
};

static void
put(struct dialogue *dialogue, unsigned int octet)
{
	dialogue->out[dialogue->n++] = (unsigned char)octet;
}

static void
put_octets(struct dialogue *dialogue, const void *data, size_t n)
{
	memcpy(dialogue->out + dialogue->n, data, n);
	dialogue->n += n;
}

/* With its length before it; false if that does not fit into an octet. */
static bool
put_field(struct dialogue *dialogue, const char *text)
{
	size_t n = strlen(text);

	if (n == 0 || n > FIELD_MAX)
		return false;
	put(dialogue, (unsigned int)n);
	put_octets(dialogue, text, n);
	return true;
}

static int
wait_for_proxy(struct dialogue *dialogue, short events)
{
	if (wait_clock() >= dialogue->until)
		return err_set(
		    dialogue->err, ERR_TEMPFAIL, "no answer in time");
	return wait_for_fd(
		   dialogue->fd, events, dialogue->until, dialogue->err) == -1
	    ? -1
	    : 0;
}

static int
lost(struct dialogue *dialogue)
{
	return err_set(dialogue->err, ERR_TEMPFAIL,
	    "the connection was lost: %s", strerror(errno));
}

/* A password may be among it. */
static int
transmit(struct dialogue *dialogue)
{
	size_t sent = 0;
	int status = 0;

	while (sent < dialogue->n && status == 0) {
		ssize_t n = send(dialogue->fd, dialogue->out + sent,
		    dialogue->n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			status = wait_for_proxy(dialogue, POLLOUT);
		else if (errno != EINTR)
			status = lost(dialogue);
	}
	explicit_bzero(dialogue->out, sizeof(dialogue->out));
	dialogue->n = 0;
	return status;
}

/* Exactly n octets: what follows them is the server's. */
static int
receive(struct dialogue *dialogue, unsigned char *data, size_t n)
{
	size_t received = 0;

	while (received < n) {
		ssize_t got = recv(
		    dialogue->fd, data + received, n - received, MSG_DONTWAIT);

		if (got == 0)
			return err_set(dialogue->err, ERR_TEMPFAIL,
			    "it closed the connection");
		if (got > 0)
			received += (size_t)got;
		else if (errno == EAGAIN) {
			if (wait_for_proxy(dialogue, POLLIN) == -1)
				return -1;
		} else if (errno != EINTR)
			return lost(dialogue);
	}
	return 0;
}

static int
no_socks(struct dialogue *dialogue, const char *what, unsigned char octet)
{
	return err_set(dialogue->err, ERR_PROTOCOL,
	    "this is no SOCKS5 proxy: %s 0x%02x", what, octet);
}

static int
refused_login(struct dialogue *dialogue, const char *text)
{
	err_set(dialogue->err, ERR_NOPERM, "%s", text);
	return err_hint(dialogue->err, "check proxy_user and proxy_password");
}

/* Which of the methods that we have does it want? */
static int
agree_on_method(struct dialogue *dialogue, enum method *method)
{
	bool has_login = dialogue->params->user != NULL;
	unsigned char reply[2];

	put(dialogue, SOCKS_VERSION);
	put(dialogue, has_login ? 2 : 1);
	put(dialogue, METHOD_NONE);
	if (has_login)
		put(dialogue, METHOD_LOGIN);
	if (transmit(dialogue) == -1 ||
	    receive(dialogue, reply, sizeof(reply)) == -1)
		return -1;
	if (reply[0] != SOCKS_VERSION)
		return no_socks(dialogue, "its first octet is", reply[0]);
	*method = reply[1];
	if (*method == METHOD_REFUSED)
		return refused_login(dialogue,
		    has_login ? "it accepts no method that we have"
			      : "it wants a login");
	if (*method != METHOD_NONE && (*method != METHOD_LOGIN || !has_login))
		return no_socks(
		    dialogue, "it chose the method", (unsigned char)*method);
	return 0;
}

static int
log_in(struct dialogue *dialogue)
{
	unsigned char reply[2];

	put(dialogue, LOGIN_VERSION);
	if (!put_field(dialogue, dialogue->params->user) ||
	    !put_field(dialogue, dialogue->params->password))
		return err_set(dialogue->err, ERR_CONFIG,
		    "proxy_user and proxy_password have at most %d octets",
		    FIELD_MAX);
	if (transmit(dialogue) == -1 ||
	    receive(dialogue, reply, sizeof(reply)) == -1)
		return -1;
	if (reply[1] != 0)
		return refused_login(
		    dialogue, "it refused the user and the password");
	return 0;
}

static int
put_address(struct dialogue *dialogue)
{
	unsigned char address[sizeof(struct in6_addr)];
	const char *host = dialogue->params->host;
	size_t n = name_address(host, address);

	/* A zone is known to this machine only, if at all. */
	if (n > 0 && strchr(host, '%') == NULL) {
		put(dialogue, n == 4 ? ADDRESS_IPV4 : ADDRESS_IPV6);
		put_octets(dialogue, address, n);
		return 0;
	}
	put(dialogue, ADDRESS_NAME);
	if (put_field(dialogue, host))
		return 0;
	return err_set(dialogue->err, ERR_CONFIG,
	    "a host name of more than %d octets", FIELD_MAX);
}

static int
refused_connection(struct dialogue *dialogue, unsigned char code)
{
	char host[NAME_SHOWN_MAX], unknown[32];
	const char *text = unknown;
	enum err_class class = ERR_UNAVAILABLE;

	snprintf(unknown, sizeof(unknown), "reply 0x%02x", code);
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		if (replies[i].code != code)
			continue;
		text = replies[i].text;
		class = replies[i].class;
	}
	text_escape(host, sizeof(host), dialogue->params->host,
	    strlen(dialogue->params->host));
	return err_set(dialogue->err, class,
	    "it cannot connect to %s port %u: %s", host, dialogue->params->port,
	    text);
}

/* The address that it connects from is of no use, but has to be read. */
static int
skip_address(struct dialogue *dialogue, unsigned char type)
{
	unsigned char octets[FIELD_MAX + 2], length;

	switch (type) {
	case ADDRESS_IPV4:
		length = sizeof(struct in_addr);
		break;
	case ADDRESS_IPV6:
		length = sizeof(struct in6_addr);
		break;
	case ADDRESS_NAME:
		if (receive(dialogue, &length, 1) == -1)
			return -1;
		break;
	default:
		return no_socks(dialogue, "it has an address of type", type);
	}
	return receive(dialogue, octets, (size_t)length + 2);
}

static int
ask_to_connect(struct dialogue *dialogue)
{
	unsigned char reply[4];

	put(dialogue, SOCKS_VERSION);
	put(dialogue, COMMAND_CONNECT);
	put(dialogue, 0);
	if (put_address(dialogue) == -1)
		return -1;
	put(dialogue, dialogue->params->port >> 8);
	put(dialogue, dialogue->params->port & 0xff);
	if (transmit(dialogue) == -1 || receive(dialogue, reply, 2) == -1)
		return -1;
	if (reply[0] != SOCKS_VERSION)
		return no_socks(dialogue, "its reply begins with", reply[0]);
	/* Some hang up behind the code of a failure. */
	if (reply[1] != 0)
		return refused_connection(dialogue, reply[1]);
	if (receive(dialogue, reply + 2, 2) == -1)
		return -1;
	return skip_address(dialogue, reply[3]);
}

int
socks_connect(
    int fd, const struct socks_params *params, int64_t until, struct err *err)
{
	struct dialogue dialogue = {
	    .fd = fd, .params = params, .until = until, .err = err};
	enum method method = METHOD_REFUSED;

	if (agree_on_method(&dialogue, &method) == -1)
		return -1;
	if (method == METHOD_LOGIN && log_in(&dialogue) == -1) {
		explicit_bzero(dialogue.out, sizeof(dialogue.out));
		return -1;
	}
	return ask_to_connect(&dialogue);
}
