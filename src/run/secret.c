/* SPDX-License-Identifier: ISC */
#include "run/secret.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "base/wait.h"
#include "run/event.h"

#define SOURCE_TIMEOUT 60000  /* milliseconds */
#define PROMPT_TIMEOUT 600000 /* people may have several to answer */
#define OUTPUT_MAX 65536

static void
explain_failure(const struct spawn_result *result, struct err *err)
{
	char how[64], said[512];
	size_t n = result->err.len;

	while (n > 0 && result->err.data[n - 1] == '\n')
		n--;
	text_escape(said, sizeof(said), result->err.data, n);
	err_set(err, ERR_CONFIG, "passwordeval: the command %s%s%s",
	    spawn_describe(result, how, sizeof(how)), n > 0 ? ": " : "", said);
}

/* Half of a secret, or one that ends at a NUL, would only look like it. */
static char *
first_line(const struct buf *out, struct err *err)
{
	const char *why = NULL;
	size_t n = 0;
	char *line;

	while (n < out->len && out->data[n] != '\n')
		n++;
	if (n == 0)
		why = "printed nothing";
	else if (n >= OUTPUT_MAX)
		why = "printed a line without end";
	else if (memchr(out->data, '\0', n) != NULL)
		why = "printed a NUL";
	if (why != NULL) {
		err_set(err, ERR_CONFIG, "passwordeval: the command %s", why);
		return NULL;
	}
	line = mem_zero(n + 1, 1);
	memcpy(line, out->data, n);
	return line;
}

static char *
from_command(const struct account *account, struct err *err)
{
	struct spawn spawn = {
	    .command = account->passwordeval,
	    .input = -1,
	    .timeout = SOURCE_TIMEOUT,
	    .output_max = OUTPUT_MAX,
	};
	struct spawn_result result;
	char *secret = NULL;

	if (spawn_run(&spawn, &result, err) == -1)
		err_prefix(err, "passwordeval");
	else if (result.timed_out || result.status != 0)
		explain_failure(&result, err);
	else
		secret = first_line(&result.out, err);
	spawn_result_free(&result);
	return secret;
}

static char *
from_terminal(const struct account *account, int parent, struct err *err)
{
	struct event event = {.type = EVENT_PROMPT};
	char *secret;

	snprintf(event.text, sizeof(event.text), "password for %s at %s",
	    account->user, account->host);
	event_send(parent, &event);
	secret =
	    event_receive_secret(parent, wait_clock() + PROMPT_TIMEOUT, err);
	if (secret == NULL)
		err_hint(err, "give the account a password or a passwordeval");
	return secret;
}

char *
secret_get(const struct account *account, int parent, struct err *err)
{
	char *secret;

	if (account->password != NULL)
		secret = mem_dup(account->password);
	else if (account->passwordeval != NULL)
		secret = from_command(account, err);
	else
		secret = from_terminal(account, parent, err);
	if (secret != NULL)
		log_mask(secret, strlen(secret));
	return secret;
}
