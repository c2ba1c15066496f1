/* SPDX-License-Identifier: ISC */
#include "run/confine.h"

#include <limits.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sandbox.h"

/* Destination (of an mbox the directory), state (where it lies, and where a
 * link to it or to mpop's list does), temporary files, and /proc, where the
 * owner of a lock or a file in tmp/ is looked for. */
#define DIRECTORIES 5
#define OWNED 3

/* The directory in which a file really lies, whatever links lead there. */
static char *
directory_of(const char *path)
{
	char *real = realpath(path, NULL);
	char *parent = file_parent(real != NULL ? real : path);

	free(real);
	return parent;
}

static void
confine(const struct fetch *fetch, enum sandbox_level level)
{
	const struct account *account = fetch->account;
	const char *tmp = getenv("TMPDIR");
	char *owned[OWNED];
	const char *directories[DIRECTORIES];
	bool entered;

	if (account->delivery.kind == DELIVER_MDA)
		return;
	owned[0] = account->delivery.kind == DELIVER_MAILDIR
	    ? mem_dup(account->delivery.target)
	    : directory_of(account->delivery.target);
	owned[1] = directory_of(account->uidls_file);
	owned[2] = file_parent(account->uidls_file);
	for (size_t i = 0; i < OWNED; i++)
		directories[i] = owned[i];
	directories[3] = tmp != NULL && tmp[0] != '\0' ? tmp : "/var/tmp";
	directories[4] = "/proc";
	entered = sandbox_enter(level, directories, DIRECTORIES);
	if (!entered && level == SANDBOX_WRITES)
		log_say(LOG_AT_VERBOSE,
		    "this system offers no way to confine the worker");
	for (size_t i = 0; i < OWNED; i++)
		free(owned[i]);
}

/* What the command of a tunnel needs, nobody knows; it has started, and is
 * out of this, when the login is over. */
void
confine_writes(const struct fetch *fetch)
{
	if (fetch->account->tunnel != NULL)
		return;
	confine(fetch, SANDBOX_WRITES);
}

void
confine_all(const struct fetch *fetch)
{
	confine(fetch, SANDBOX_ALL);
}
