/* SPDX-License-Identifier: ISC */
/*
 * The first octet names a mechanism.  An even one: the rest is what a server
 * says to AUTH.  An odd one: each line of the rest is a challenge, not encoded
 * yet, "$" being our nonce of SCRAM.  Nobody who does not know the password
 * may prove it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/wait.h"
#include "pop3/auth.h"

#define SERVER_MAX 65536 /* octets that a socket takes at once */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds)
{
	if (!holds)
		abort();
}

static bool
proves(enum sasl_mechanism mechanism)
{
	return mechanism >= SASL_DIGEST_MD5 &&
	    mechanism <= SASL_SCRAM_SHA_256_PLUS;
}

/* What follows "r=" in the first message of SCRAM. */
static void
find_nonce(const char *response, struct buf *nonce)
{
	struct buf message = {0};
	const char *r;

	if (digest_base64_decode(response, strlen(response), &message) &&
	    (r = strstr(buf_string(&message), "r=")) != NULL)
		buf_puts(nonce, r + 2);
	buf_free(&message);
}

static char *
encode(const uint8_t *line, size_t n, const struct buf *nonce)
{
	struct buf text = {0};
	char *encoded;

	for (size_t i = 0; i < n; i++)
		if (line[i] == '$')
			buf_append(&text, nonce->data, nonce->len);
		else
			buf_append(&text, line + i, 1);
	encoded = digest_base64(text.data, text.len);
	buf_free(&text);
	return encoded;
}

static void
step_by_step(struct sasl *sasl, const uint8_t *data, size_t size)
{
	bool has_proof = proves(sasl_mechanism(sasl));
	struct buf nonce = {0};
	struct err err;
	char *response = NULL, *challenge;

	if (sasl_has_initial_response(sasl_mechanism(sasl)))
		response = sasl_step(sasl, NULL, 0, &err);
	if (response != NULL)
		find_nonce(response, &nonce);
	while (size > 0) {
		const uint8_t *lf = memchr(data, '\n', size);
		size_t n = lf != NULL ? (size_t)(lf - data) : size;

		free(response);
		challenge = encode(data, n, &nonce);
		response = sasl_step(sasl, challenge, strlen(challenge), &err);
		free(challenge);
		check(response != NULL || err.class != ERR_NONE);
		if (sasl_finish(sasl, &err) == 0)
			check(!has_proof);
		if (response == NULL)
			break;
		data += n + (lf != NULL);
		size -= n + (lf != NULL);
	}
	free(response);
	buf_free(&nonce);
}

static void
over_a_connection(struct sasl *sasl, const uint8_t *data, size_t size)
{
	struct auth_outcome outcome = {.secret_sent = false};
	struct client *client;
	struct conn *conn;
	struct err err;
	int ends[2];

	if (size > SERVER_MAX ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1)
		return;
	check(write(ends[1], data, size) == (ssize_t)size);
	shutdown(ends[1], SHUT_WR);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	conn = conn_open(ends[0], 1000, WAIT_FOREVER);
	client = client_open(conn);
	if (auth_exchange(client, sasl, true, &outcome, &err) == 0) {
		if (outcome.reply.ok)
			check(!proves(sasl_mechanism(sasl)));
		else
			auth_refused(sasl, &outcome.reply, ERR_NOPERM, &err);
	}
	client_close(client);
	conn_close(conn);
	close(ends[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char binding[32] = {1};
	struct sasl_params params = {
	    .user = "alice",
	    .secret = "sesame",
	    .host = "localhost",
	    .port = "995",
	    .binding = binding,
	    .binding_size = sizeof(binding),
	    .binding_is_exporter = true,
	};
	struct sasl *sasl;
	struct err err;

	if (size == 0)
		return 0;
	params.mechanism = data[0] / 2 % SASL_MECHANISMS;
	/* Kerberos would read its configuration each time. */
	if (params.mechanism == SASL_GSSAPI)
		return 0;
	sasl = sasl_open(&params, &err);
	if (sasl == NULL)
		return 0;
	if (data[0] % 2 == 1)
		step_by_step(sasl, data + 1, size - 1);
	else
		over_a_connection(sasl, data + 1, size - 1);
	sasl_close(sasl);
	log_forget();
	return 0;
}
