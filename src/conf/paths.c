/* SPDX-License-Identifier: ISC */
#include "conf/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define PIECE_MAX 200
/* Room is left below NAME_MAX for the suffixes of the state's own files. */
#define FILE_NAME_MAX 230
#define PIECE_MAX_OF_LONG_NAME 64

/* The absolute directory that a variable of the XDG base directory
 * specification names, or its default below the home directory. */
static char *
xdg_directory(const char *variable, const char *otherwise)
{
	const char *dir = getenv(variable);

	/* Relative ones are to be ignored, it says. */
	if (dir != NULL && dir[0] == '/')
		return mem_dup(dir);
	return file_expand_home(otherwise);
}

char *
conf_default_path(void)
{
	char *dir = xdg_directory("XDG_CONFIG_HOME", "~/.config");
	char *path = mem_printf("%s/poplar/poplarrc", dir);

	free(dir);
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return file_expand_home("~/.poplarrc");
}

/* The port is part of the name unless it is one of the two of POP3; where
 * there is no host, there is none either. */
char *
paths_state_default(const struct account *account)
{
	char *dir = xdg_directory("XDG_STATE_HOME", "~/.local/state");
	bool usual = strcmp(account->port, "110") == 0 ||
	    strcmp(account->port, "995") == 0;
	char *said;

	if (account->host == NULL)
		said = mem_printf("%s/poplar/%%A", dir);
	else
		said = mem_printf("%s/poplar/%%U_at_%%H%s%s", dir,
		    usual ? "" : ":", usual ? "" : account->port);
	free(dir);
	return said;
}

/* A long piece as the hexadecimal digits of its SHA-256. */
static void
append_hash(struct buf *path, const char *value)
{
	uint8_t hash[DIGEST_SHA256_SIZE];

	digest_sha256(value, strlen(value), hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		buf_printf(path, "%02x", hash[i]);
}

static void
append_piece(struct buf *path, const char *value, size_t max)
{
	bool dot = value[0] == '.';
	struct buf piece = {0};

	if (dot)
		buf_puts(&piece, "%2E");
	text_percent_encode(&piece, value + dot, strlen(value + dot), "._@+-");
	if (piece.len > max)
		append_hash(path, value);
	else
		buf_append(path, piece.data, piece.len);
	buf_free(&piece);
}

static const char *
value_of_mark(const char *mark, const struct account *account)
{
	if (mark[0] != '%')
		return NULL;
	switch (mark[1]) {
	case 'U':
		return account->user;
	case 'H':
		return account->server;
	case 'A':
		return account->name;
	default:
		return NULL;
	}
}

static char *
expand(const char *said, const struct account *account, size_t piece_max)
{
	struct buf path = {0};
	char *string;

	while (*said != '\0') {
		const char *value = value_of_mark(said, account);

		if (value != NULL)
			append_piece(&path, value, piece_max);
		else
			buf_append(&path, said, 1);
		said += value != NULL ? 2 : 1;
	}
	string = mem_dup(buf_string(&path));
	buf_free(&path);
	return string;
}

char *
paths_expand(const char *said, const struct account *account)
{
	char *path = expand(said, account, PIECE_MAX);
	const char *slash = strrchr(path, '/');

	if (strlen(slash != NULL ? slash + 1 : path) <= FILE_NAME_MAX)
		return path;
	free(path);
	return expand(said, account, PIECE_MAX_OF_LONG_NAME);
}
