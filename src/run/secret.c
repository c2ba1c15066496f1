/* SPDX-License-Identifier: ISC */
#include "run/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "base/wait.h"
#include "run/event.h"
#include "run/netrc.h"

#define SOURCE_TIMEOUT 60000  /* milliseconds */
#define PROMPT_TIMEOUT 600000 /* people may have several to answer */
#define SECRET_MAX 65536
#define NETRC_MAX (1 << 20)
#define PATH_SHOWN_MAX 512

/*
 * A source gives a secret, or NULL: with err->class ERR_NONE it has none, and
 * the next one is asked.
 */
typedef char *source(
    const struct account *account, int parent, struct err *err);

static char *
none(struct err *err)
{
	err->class = ERR_NONE;
	return NULL;
}

/* Half of a secret, or one that ends at a NUL, would only look like it. */
static char *
take_secret(const char *data, size_t n, const char *whose, struct err *err)
{
	const char *why = NULL;
	char *secret;

	if (n == 0)
		why = "is empty";
	else if (n >= SECRET_MAX)
		why = "is too long";
	else if (memchr(data, '\0', n) != NULL)
		why = "holds a NUL";
	if (why != NULL) {
		err_set(err, ERR_CONFIG, "%s %s", whose, why);
		return NULL;
	}
	secret = mem_zero(n + 1, 1);
	memcpy(secret, data, n);
	return secret;
}

static size_t
without_newline(const struct buf *text)
{
	return text->len > 0 && text->data[text->len - 1] == '\n'
	    ? text->len - 1
	    : text->len;
}

/* What the rc file says */

static char *
from_account(const struct account *account, int parent, struct err *err)
{
	char *secret = mem_dup(account->password);

	(void)parent;
	(void)err;
	explicit_bzero(account->password, strlen(account->password));
	return secret;
}

static void
explain_failure(const struct spawn_result *result, struct err *err)
{
	char how[64], said[512];
	size_t n = result->err.len;

	while (n > 0 && result->err.data[n - 1] == '\n')
		n--;
	text_escape(said, sizeof(said), result->err.data, n);
	err_set(err, ERR_CONFIG, "the command %s%s%s",
	    spawn_describe(result, how, sizeof(how)), n > 0 ? ": " : "", said);
}

static char *
first_line(const struct buf *out, struct err *err)
{
	size_t n = 0;

	while (n < out->len && out->data[n] != '\n')
		n++;
	return take_secret(out->data, n, "what the command printed", err);
}

static char *
from_command(const struct account *account, int parent, struct err *err)
{
	struct spawn spawn = {
	    .command = account->passwordeval,
	    .input = -1,
	    .timeout = SOURCE_TIMEOUT,
	    .output_max = SECRET_MAX,
	};
	struct spawn_result result;
	char *secret = NULL;

	(void)parent;
	if (spawn_run(&spawn, &result, err) == 0) {
		if (result.timed_out || result.status != 0)
			explain_failure(&result, err);
		else
			secret = first_line(&result.out, err);
	}
	spawn_result_free(&result);
	if (secret == NULL)
		err_prefix(err, "passwordeval");
	return secret;
}

static char *
from_descriptor(const struct account *account, int parent, struct err *err)
{
	(void)parent;
	err_set(err, ERR_CONFIG, "passwordfd %d: %s", account->passwordfd.fd,
	    account->passwordfd.why);
	return NULL;
}

/* Files */

/* The whole file, in a buffer that never grows: growing leaves copies. */
static int
read_whole(int fd, size_t max, struct buf *text)
{
	ssize_t n;

	buf_room(text, max + 1);
	while (text->len <= max) {
		n = read(fd, text->data + text->len, max + 1 - text->len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		text->len += (size_t)n;
	}
	errno = EFBIG;
	return -1;
}

/* -1 with errno; ENOENT for what is not there. */
static int
read_file(const char *path, size_t max, struct buf *text, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int status = -1, saved;

	if (fd == -1)
		return -1;
	if (fstat(fd, st) == 0) {
		if (S_ISREG(st->st_mode))
			status = read_whole(fd, max, text);
		else
			errno = EINVAL;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return status;
}

static char *
cannot_read(const char *path, struct err *err)
{
	char shown[PATH_SHOWN_MAX];

	if (errno == ENOENT || errno == ENOTDIR)
		return none(err);
	err_set_errno(err, ERR_CONFIG, "cannot read %s",
	    text_escape(shown, sizeof(shown), path, strlen(path)));
	return NULL;
}

/* systemd.exec(5), "Credentials"; a name that is no file name has none. */
static char *
from_credentials(const struct account *account, int parent, struct err *err)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char shown[PATH_SHOWN_MAX], *path, *secret;
	struct buf text = {0};
	struct stat st;

	(void)parent;
	if (dir == NULL || dir[0] != '/' || account->name[0] == '.' ||
	    strchr(account->name, '/') != NULL)
		return none(err);
	path = mem_printf("%s/poplar.%s", dir, account->name);
	if (read_file(path, SECRET_MAX, &text, &st) == -1)
		secret = cannot_read(path, err);
	else
		secret = take_secret(text.data, without_newline(&text),
		    text_escape(shown, sizeof(shown), path, strlen(path)), err);
	buf_wipe(&text);
	free(path);
	return secret;
}

/* Only what holds a password of this account has to be private. */
static int
check_netrc(const char *path, const struct stat *st, struct err *err)
{
	char shown[PATH_SHOWN_MAX];

	text_escape(shown, sizeof(shown), path, strlen(path));
	if (st->st_uid != geteuid()) {
		err_set(err, ERR_CONFIG, "%s, with a password, is not yours",
		    shown);
		return err_hint(
		    err, "chown %ju %s", (uintmax_t)geteuid(), shown);
	}
	if ((st->st_mode & 077) != 0) {
		err_set(err, ERR_CONFIG,
		    "others can read or change %s, which has the password",
		    shown);
		return err_hint(err, "chmod 600 %s", shown);
	}
	return 0;
}

static char *
look_up_netrc(const struct account *account, const char *path, struct err *err)
{
	struct buf text = {0};
	char *password = NULL;
	struct stat st;

	if (read_file(path, NETRC_MAX, &text, &st) == -1) {
		cannot_read(path, err);
	} else if (memchr(text.data, '\0', text.len) != NULL) {
		err_set(err, ERR_CONFIG, "%s holds a NUL", path);
	} else {
		password = netrc_password(
		    text.data, text.len, account->host, account->user);
		if (password == NULL)
			none(err);
		else if (check_netrc(path, &st, err) == -1) {
			mem_free_secret(password);
			password = NULL;
		}
	}
	buf_wipe(&text);
	return password;
}

static char *
from_netrc(const struct account *account, int parent, struct err *err)
{
	char *path, *password;

	(void)parent;
	if (account->host == NULL)
		return none(err);
	path = file_expand_home("~/.netrc");
	password = look_up_netrc(account, path, err);
	free(path);
	return password;
}

/* The key ring */

/* Without a key ring, a D-Bus or the program there is nothing to complain
 * about. */
static void
note_no_key_ring(struct spawn_result *result)
{
	char how[64], said[512];

	log_say(LOG_AT_VERBOSE,
	    "the key ring has no password: secret-tool %s%s%s",
	    spawn_describe(result, how, sizeof(how)),
	    result->err.len > 0 ? ": " : "",
	    text_escape(said, sizeof(said), result->err.data,
		strcspn(buf_string(&result->err), "\n")));
}

/* As mpop and msmtp have their passwords there. */
static char *
from_key_ring(const struct account *account, int parent, struct err *err)
{
	char *host, *user, *secret = NULL;
	const char *env[3] = {0};
	struct spawn spawn = {
	    .command = "exec secret-tool lookup host \"$POPLAR_HOST\" "
		       "service pop3 user \"$POPLAR_USER\"",
	    .input = -1,
	    .env = env,
	    .timeout = SOURCE_TIMEOUT,
	    .output_max = SECRET_MAX,
	};
	struct spawn_result result;

	(void)parent;
	if (account->host == NULL)
		return none(err);
	env[0] = host = mem_printf("POPLAR_HOST=%s", account->host);
	env[1] = user = mem_printf("POPLAR_USER=%s", account->user);
	if (spawn_run(&spawn, &result, err) == -1) {
		err_prefix(err, "secret-tool");
	} else if (result.timed_out || result.status != 0 ||
	    result.out.len == 0) {
		note_no_key_ring(&result);
		none(err);
	} else {
		secret =
		    take_secret(result.out.data, without_newline(&result.out),
			"the key ring's password", err);
	}
	spawn_result_free(&result);
	free(host);
	free(user);
	return secret;
}

/* The terminal, which is the parent's */

static char *
from_terminal(const struct account *account, int parent, struct err *err)
{
	struct event event = {.type = EVENT_PROMPT};
	char user[256], server[256], *secret;

	snprintf(event.text, sizeof(event.text), "password for %s at %s",
	    text_escape(
		user, sizeof(user), account->user, strlen(account->user)),
	    text_escape(server, sizeof(server), account->server,
		strlen(account->server)));
	event_send(parent, &event);
	secret =
	    event_receive_secret(parent, wait_clock() + PROMPT_TIMEOUT, err);
	if (secret == NULL)
		err_hint(err,
		    "give the account a password, passwordeval or passwordfd, "
		    "or store one in $CREDENTIALS_DIRECTORY/poplar.%s, "
		    "~/.netrc or the "
		    "key ring; poplarrc(5) says how",
		    account->name);
	return secret;
}

static const struct {
	const char *name;
	source *get;
} searched[] = {
    {"$CREDENTIALS_DIRECTORY", from_credentials},
    {"~/.netrc", from_netrc},
    {"the key ring", from_key_ring},
    {"the terminal", from_terminal},
};

static char *
search(const struct account *account, int parent, struct err *err)
{
	for (size_t i = 0; i < sizeof(searched) / sizeof(searched[0]); i++) {
		char *secret = searched[i].get(account, parent, err);

		if (secret != NULL)
			log_say(LOG_AT_VERBOSE, "the password is from %s",
			    searched[i].name);
		if (secret != NULL || err->class != ERR_NONE)
			return secret;
	}
	return NULL;
}

/* A key that stops this run stops a command at its terminal as well: that is
 * no fault of the command's.  Its end may have come first. */
static void
note_stop(struct err *err)
{
	wait_let_signals_in(true);
	wait_let_signals_in(false);
	wait_check(err);
}

char *
secret_get(const struct account *account, int parent, struct err *err)
{
	char *secret;

	if (account->password != NULL)
		secret = from_account(account, parent, err);
	else if (account->passwordeval != NULL)
		secret = from_command(account, parent, err);
	else if (account->passwordfd.given)
		secret = from_descriptor(account, parent, err);
	else
		secret = search(account, parent, err);
	if (secret == NULL)
		note_stop(err);
	else
		log_mask(secret, strlen(secret));
	return secret;
}

bool
secret_is_renewable(const struct account *account)
{
	return account->password == NULL && account->passwordeval != NULL &&
	    (account->auth == CONF_AUTH_OAUTHBEARER ||
		account->auth == CONF_AUTH_XOAUTH2);
}

char *
secret_renew(const struct account *account, const char *refused)
{
	struct err err;
	char *secret;

	if (!secret_is_renewable(account))
		return NULL;
	secret = from_command(account, -1, &err);
	if (secret == NULL) {
		log_say(LOG_AT_WARNING, "a new token: %s", err.text);
		return NULL;
	}
	log_mask(secret, strlen(secret));
	if (strcmp(secret, refused) != 0)
		return secret;
	log_say(LOG_AT_VERBOSE, "passwordeval prints the same token again");
	mem_free_secret(secret);
	return NULL;
}
