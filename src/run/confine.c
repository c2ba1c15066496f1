/* SPDX-License-Identifier: ISC */
#include "run/confine.h"

#include <limits.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sandbox.h"

/* Destination, its parent's file for an mbox, state, temporary files, and
 * /proc, where the owner of a lock or a file in tmp/ is looked for. */
#define DIRECTORIES 4

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
	char *owned[2];
	const char *directories[DIRECTORIES];
	bool entered;

	if (account->delivery.kind == DELIVER_MDA)
		return;
	owned[0] = account->delivery.kind == DELIVER_MAILDIR
	    ? mem_dup(account->delivery.target)
	    : directory_of(account->delivery.target);
	owned[1] = directory_of(account->uidls_file);
	directories[0] = owned[0];
	directories[1] = owned[1];
	directories[2] = tmp != NULL && tmp[0] != '\0' ? tmp : "/var/tmp";
	directories[3] = "/proc";
	entered = sandbox_enter(level, directories, DIRECTORIES);
	if (!entered && level == SANDBOX_WRITES)
		log_say(LOG_AT_VERBOSE,
		    "this system offers no way to confine the worker");
	free(owned[0]);
	free(owned[1]);
}

void
confine_writes(const struct fetch *fetch)
{
	confine(fetch, SANDBOX_WRITES);
}

void
confine_all(const struct fetch *fetch)
{
	confine(fetch, SANDBOX_ALL);
}
