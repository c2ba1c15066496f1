/* SPDX-License-Identifier: ISC */
#include "run/confine.h"

#include <limits.h>
#include <stdlib.h>
#include <strings.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sandbox.h"

/* Destination (of an mbox the directory, of a Maildir its three as well, which
 * may be links), state (where it lies, and where a link to it or to mpop's list
 * does), temporary files, and /proc, where the owner of a lock or a file in
 * tmp/ is looked for. */
#define DIRECTORIES 8
#define OWNED 6

/* The directory in which a file really lies, whatever links lead there. */
static char *
directory_of(const char *path)
{
	char *real = realpath(path, NULL);
	char *parent = file_parent(real != NULL ? real : path);

	free(real);
	return parent;
}

/* Returns how many it took. */
static size_t
add_destination(const struct account *account, char *owned[OWNED])
{
	const char *target = account->delivery.target;

	if (account->delivery.kind != DELIVER_MAILDIR) {
		owned[0] = directory_of(target);
		return 1;
	}
	owned[0] = mem_dup(target);
	owned[1] = mem_printf("%s/new", target);
	owned[2] = mem_printf("%s/cur", target);
	owned[3] = mem_printf("%s/tmp", target);
	return 4;
}

static void
confine(const struct fetch *fetch, enum sandbox_level level)
{
	const struct account *account = fetch->account;
	const char *tmp = getenv("TMPDIR");
	char *owned[OWNED];
	const char *directories[DIRECTORIES];
	size_t n;
	bool entered;

	if (account->delivery.kind == DELIVER_MDA)
		return;
	n = add_destination(account, owned);
	owned[n++] = directory_of(account->uidls_file);
	owned[n++] = file_parent(account->uidls_file);
	for (size_t i = 0; i < n; i++)
		directories[i] = owned[i];
	directories[n] = tmp != NULL && tmp[0] != '\0' ? tmp : "/var/tmp";
	directories[n + 1] = "/proc";
	entered = sandbox_enter(level, directories, n + 2);
	if (!entered && level == SANDBOX_WRITES)
		log_say(LOG_AT_VERBOSE,
		    "this system offers no way to confine the worker");
	for (size_t i = 0; i < n; i++)
		free(owned[i]);
}

static bool
is_on_token(const char *file)
{
	return file != NULL && strncasecmp(file, "pkcs11:", 7) == 0;
}

/* What the command of a tunnel needs, or the module of a token, nobody knows;
 * both have done their work when the login is over. */
void
confine_writes(const struct fetch *fetch)
{
	const struct account *account = fetch->account;

	if (account->tunnel != NULL || is_on_token(account->tls_cert_file) ||
	    is_on_token(account->tls_key_file))
		return;
	confine(fetch, SANDBOX_WRITES);
}

void
confine_all(const struct fetch *fetch)
{
	confine(fetch, SANDBOX_ALL);
}
