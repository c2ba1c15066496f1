/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <sys/stat.h>

#include "peer.h"
#include "tap.h"
#include "wire/tofu.h"

#define KEY_A "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B "sha256/BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
#define KEY_C "sha256/CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA="

static char path[256];
static struct tofu_known known;
static struct err error;

static void
write_text(const char *text)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		err(1, "%s", path);
	fputs(text, f);
	fclose(f);
}

static enum tofu_answer
ask(const char *server, const char *key)
{
	error = (struct err){0};
	known = (struct tofu_known){0};
	return tofu_ask(path, server, key, &known, &error);
}

static void
nonsense(const char *text, const char *why)
{
	write_text(text);
	tap_ok(ask("a:995", KEY_A) == TOFU_FAILED &&
		error.class == ERR_CONFIG && strstr(error.text, why) != NULL,
	    "nonsense: %s", error.text);
}

int
main(void)
{
	char text[400] = "", date[16];
	time_t now = time(NULL);
	struct stat st;
	FILE *f;

	peer_write_file(path, sizeof(path), "", 0);
	unlink(path);
	tap_ok(ask("a:995", KEY_A) == TOFU_UNKNOWN, "no file: unknown");
	tap_ok(tofu_remember(path, "a:995", KEY_A, &error) == 0, "remembered");
	tap_ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "0600");
	tap_ok(ask("a:995", KEY_A) == TOFU_SAME, "the same");
	tap_ok(ask("b:995", KEY_A) == TOFU_UNKNOWN, "another server");
	tap_ok(ask("a:110", KEY_A) == TOFU_UNKNOWN, "another port");
	tap_ok(ask("a:995", KEY_B) == TOFU_OTHER, "another key");
	tap_is(known.key, KEY_A, "... and which it was");
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&now));
	tap_is(known.since, date, "... since when");
	tofu_remember(path, "b:995", KEY_B, &error);
	tofu_remember(path, "a:995", KEY_C, &error);
	tap_ok(ask("a:995", KEY_A) == TOFU_SAME &&
		ask("a:995", KEY_C) == TOFU_SAME &&
		ask("b:995", KEY_B) == TOFU_SAME &&
		ask("a:995", KEY_B) == TOFU_OTHER,
	    "any of several");

	write_text("# of mine\n\na:995 " KEY_A " 2026-01-02\nb:995 sha256/BB");
	tap_ok(ask("a:995", KEY_A) == TOFU_SAME &&
		ask("b:995", KEY_B) == TOFU_UNKNOWN,
	    "a torn line counts for nothing");
	tofu_remember(path, "b:995", KEY_B, &error);
	f = fopen(path, "r");
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	tap_ok(strncmp(text,
		   "# of mine\n\na:995 " KEY_A " 2026-01-02\nb:995 " KEY_B " ",
		   40) == 0 &&
		ask("b:995", KEY_B) == TOFU_SAME,
	    "and makes way");

	write_text("b:995 " KEY_B " 2026-01-02\na:995 " KEY_A " 2026-01-02");
	tap_ok(ask("a:995", KEY_A) == TOFU_SAME &&
		ask("a:995", KEY_B) == TOFU_OTHER,
	    "a whole line counts without its end");
	tofu_remember(path, "c:995", KEY_C, &error);
	tap_ok(ask("a:995", KEY_B) == TOFU_OTHER &&
		ask("b:995", KEY_B) == TOFU_SAME &&
		ask("c:995", KEY_C) == TOFU_SAME,
	    "and gets one");
	write_text("b:995 " KEY_B " 2026-01-02\n# mine");
	tofu_remember(path, "c:995", KEY_C, &error);
	tap_ok(ask("c:995", KEY_C) == TOFU_SAME, "so does a comment");

	nonsense("b:995 " KEY_A " 2026-01-02\na:995\n", "line 2 is no");
	nonsense("a:995 " KEY_A "\n", "line 1 is no");
	nonsense("a:995 sha256/short 2026-01-02\n", "line 1 is no");
	nonsense("a:995 " KEY_A "x 2026-01-02\n", "line 1 is no");
	nonsense("a:995 " KEY_A " 2026-01-02 x\n", "line 1 is no");
	nonsense("b:995  " KEY_A " 2026-01-02\n", "line 1 is no");
	unlink(path);
	mkdir(path, 0700);
	tap_ok(
	    ask("a:995", KEY_A) == TOFU_FAILED, "a directory: %s", error.text);
	tap_ok(tofu_remember(path, "a:995", KEY_A, &error) == -1,
	    "a directory: %s", error.text);
	rmdir(path);
	return tap_done();
}
