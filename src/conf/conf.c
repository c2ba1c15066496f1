/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "conf/account.h"
#include "conf/keyword.h"
#include "conf/lex.h"

#define NAME_SHOWN_MAX 512

struct account *
conf_find(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n; i++)
		if (strcmp(conf->accounts[i]->name, name) == 0)
			return conf->accounts[i];
	return NULL;
}

void
conf_add(struct conf *conf, struct account *account)
{
	conf->accounts =
	    mem_grow(conf->accounts, conf->n + 1, sizeof(struct account *));
	conf->accounts[conf->n++] = account;
}

struct conf *
conf_without_file(void)
{
	struct conf *conf = mem_zero(1, sizeof(*conf));
	struct account *account = account_new();

	account->name = mem_dup("default");
	conf_add(conf, account);
	return conf;
}

bool
conf_is_tofu(const struct account *account)
{
	return account->tls_trust_file != NULL &&
	    strcmp(account->tls_trust_file, CONF_TRUST_TOFU) == 0;
}

/* Choosing */

static bool
matches(const struct account *account, const char *name)
{
	return strcmp(account->name, name) == 0 ||
	    fnmatch(name, account->name, 0) == 0;
}

static int
fail_no_account(const struct conf *conf, const char *name, struct err *err)
{
	const char **names = mem_zero(conf->n, sizeof(*names));
	char shown[NAME_SHOWN_MAX];
	const char *nearest;

	for (size_t i = 0; i < conf->n; i++)
		names[i] = conf->accounts[i]->name;
	nearest = text_nearest(name, names, conf->n);
	err_set(err, ERR_CONFIG, "no account is called %s",
	    text_escape(shown, sizeof(shown), name, strlen(name)));
	if (nearest != NULL)
		err_hint(err, "did you mean %s",
		    text_escape(
			shown, sizeof(shown), nearest, strlen(nearest)));
	free(names);
	return -1;
}

static bool
is_chosen(const struct account *account, char *const names[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (matches(account, names[i]))
			return true;
	return false;
}

static int
check_names(
    const struct conf *conf, char *const names[], size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < conf->n && !matches(conf->accounts[at], names[i]))
			at++;
		if (at == conf->n)
			return fail_no_account(conf, names[i], err);
	}
	return 0;
}

int
conf_choose(
    struct conf *conf, char *const names[], size_t n, bool all, struct err *err)
{
	char usual[] = "default";
	char *const only_usual[] = {usual};
	size_t kept = 0;

	if (n == 0 && (all || conf_find(conf, usual) == NULL))
		return 0;
	if (n == 0) {
		names = only_usual;
		n = 1;
	}
	if (check_names(conf, names, n, err) == -1)
		return -1;
	for (size_t i = 0; i < conf->n; i++) {
		if (is_chosen(conf->accounts[i], names, n))
			conf->accounts[kept++] = conf->accounts[i];
		else
			account_free(conf->accounts[i]);
	}
	conf->n = kept;
	return 0;
}

/* Printing */

/* The path as it is, unless reading it again would expand it again. */
static char *
print_uidls_file(const struct account *account)
{
	static const char *const marks[] = {"%U", "%H", "%A"};
	const char *path = account->uidls_file;

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (path != NULL && account->uidls_said != NULL &&
		    strstr(path, marks[i]) != NULL)
			path = account->uidls_said;
	return path != NULL ? lex_quote(path) : NULL;
}

static void
format_keyword(const struct keyword *keyword, const struct account *account,
    struct buf *text)
{
	bool is_list = (keyword->flags & KEYWORD_LIST) != 0;
	char *value;

	for (size_t i = 0; i == 0 || is_list; i++) {
		if (keyword->offset == offsetof(struct account, uidls_file))
			value = print_uidls_file(account);
		else
			value = keyword->type->print(keyword, account, i);
		if (value == NULL)
			return;
		buf_printf(text, "%s %s\n", keyword->name, value);
		free(value);
	}
}

void
conf_format(const struct conf *conf, struct buf *text)
{
	size_t n;
	const struct keyword *table = keyword_table(&n);

	for (size_t i = 0; i < conf->n; i++) {
		const struct account *account = conf->accounts[i];
		char *name = lex_quote(account->name);

		buf_printf(text, "%saccount %s\n", i > 0 ? "\n" : "", name);
		free(name);
		for (size_t j = 0; j < n; j++)
			if (table[j].type != NULL)
				format_keyword(&table[j], account, text);
	}
}

void
conf_print(const struct conf *conf)
{
	struct buf text = {0};

	conf_format(conf, &text);
	fwrite(text.data, 1, text.len, stdout);
	buf_free(&text);
}

static void
wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
}

void
conf_forget_others(const struct conf *conf, const struct account *account)
{
	for (size_t i = 0; i < conf->n; i++) {
		struct account *other = conf->accounts[i];

		if (other == account)
			continue;
		wipe(other->password);
		wipe(other->proxy_password);
	}
}

void
conf_free(struct conf *conf)
{
	if (conf == NULL)
		return;
	for (size_t i = 0; i < conf->n; i++)
		account_free(conf->accounts[i]);
	free(conf->accounts);
	free(conf);
}
