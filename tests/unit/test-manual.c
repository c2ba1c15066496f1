/* SPDX-License-Identifier: ISC */
/*
 * poplarrc(5) and the table of keywords say the same: an ".It Cm NAME" for
 * each keyword that works, with a "Default:" line if it has one, no others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/keyword.h"

#include "tap.h"

#define ENTRIES_MAX 200

struct entry {
	char *name;
	char *initial; /* NULL: no line names a default */
};

static const char *const commands[] = {
    "defaults", "account", "eval", "include"};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static bool
is_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(name, commands[i]) == 0)
			return true;
	return false;
}

/* What stands behind the macro, without a full stop of its own. */
static char *
argument_of(const char *line, const char *macro)
{
	size_t n;

	if (strncmp(line, macro, strlen(macro)) != 0)
		return NULL;
	line += strlen(macro);
	n = strcspn(line, "\n");
	if (n >= 2 && strncmp(line + n - 2, " .", 2) == 0)
		n -= 2;
	return mem_printf("%.*s", (int)n, line);
}

static size_t
read_entries(FILE *page, struct entry entries[ENTRIES_MAX])
{
	char *line = NULL, *found;
	bool after_default = false;
	size_t n = 0, size = 0;

	while (getline(&line, &size, page) > 0 && n < ENTRIES_MAX) {
		if (after_default && n > 0)
			entries[n - 1].initial = argument_of(line, ".Ql ");
		after_default = strcmp(line, "Default:\n") == 0;
		found = argument_of(line, ".It Cm ");
		if (found == NULL)
			continue;
		found[strcspn(found, " ")] = '\0';
		entries[n++] = (struct entry){.name = found};
	}
	free(line);
	return n;
}

static void
check_keyword(
    const struct keyword *keyword, const struct entry *entries, size_t n)
{
	const struct entry *entry = NULL;
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(entries[i].name, keyword->name) == 0) {
			entry = &entries[i];
			count++;
		}
	if (keyword->flags & KEYWORD_LATER) {
		tap_ok(count == 0, "%s is not described yet", keyword->name);
		return;
	}
	if (tap_ok(count == 1, "%s is described once", keyword->name))
		tap_is(entry->initial, keyword->initial, "its default");
}

int
main(void)
{
	static struct entry entries[ENTRIES_MAX];
	const char *srcdir = getenv("srcdir");
	char *path =
	    mem_printf("%s/man/poplarrc.5", srcdir != NULL ? srcdir : ".");
	FILE *page = fopen(path, "r");
	size_t n, n_keywords, n_commands = 0;
	const struct keyword *table = keyword_table(&n_keywords);

	if (!tap_ok(page != NULL, "%s can be read", path))
		return tap_done();
	n = read_entries(page, entries);
	fclose(page);
	free(path);
	for (size_t i = 0; i < n_keywords; i++)
		check_keyword(&table[i], entries, n);
	for (size_t i = 0; i < n; i++) {
		n_commands += is_command(entries[i].name);
		tap_ok(is_command(entries[i].name) ||
			keyword_find(entries[i].name) != NULL,
		    "%s is in the table", entries[i].name);
	}
	tap_ok(n_commands == N_COMMANDS, "the commands are described");
	for (size_t i = 0; i < n; i++) {
		free(entries[i].name);
		free(entries[i].initial);
	}
	return tap_done();
}
