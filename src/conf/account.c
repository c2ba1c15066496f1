/* SPDX-License-Identifier: ISC */
#include "conf/account.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static uint64_t
bit_of(const struct keyword *keyword)
{
	size_t n;

	return UINT64_C(1) << (keyword - keyword_table(&n));
}

static void
copy_field(const struct keyword *keyword, struct account *to,
    const struct account *from)
{
	const struct keyword_type *type = keyword->type;
	char *field = (char *)to + keyword->offset;

	if (type->clear != NULL)
		type->clear(field);
	memcpy(field, (const char *)from + keyword->offset, type->size);
	if (type->own != NULL)
		type->own(field);
}

/* The default of the table; that it is valid, a test makes sure. */
static void
set_initial(struct account *account, const struct keyword *keyword)
{
	const char *why;

	if (keyword->type != NULL && keyword->initial != NULL)
		keyword->type->parse(keyword, keyword->initial, account, &why);
}

struct account *
account_new(void)
{
	struct account *account = mem_zero(1, sizeof(*account));
	size_t n;
	const struct keyword *table = keyword_table(&n);

	for (size_t i = 0; i < n; i++)
		set_initial(account, &table[i]);
	return account;
}

struct account *
account_copy(const struct account *from)
{
	struct account *account = mem_zero(1, sizeof(*account));
	size_t n;
	const struct keyword *table = keyword_table(&n);

	for (size_t i = 0; i < n; i++)
		if (table[i].type != NULL)
			copy_field(&table[i], account, from);
	account->tls_was_said = from->tls_was_said;
	return account;
}

static void
note_said(struct account *account, const struct keyword *keyword)
{
	account->said |= bit_of(keyword);
	account->inherited &= ~bit_of(keyword);
	if (keyword->offset == offsetof(struct account, tls))
		account->tls_was_said = true;
}

void
account_inherit(struct account *account, const struct account *parent)
{
	size_t n;
	const struct keyword *table = keyword_table(&n);

	for (size_t i = 0; i < n; i++) {
		if ((parent->said & bit_of(&table[i])) == 0)
			continue;
		copy_field(&table[i], account, parent);
		note_said(account, &table[i]);
		account->inherited |= bit_of(&table[i]);
	}
}

static bool
is_default(const struct keyword *keyword, const char *argument)
{
	return argument[0] == '\0' ||
	    (keyword->initial != NULL &&
		strcasecmp(argument, keyword->initial) == 0);
}

bool
account_set(struct account *account, const struct keyword *keyword,
    const char *argument, const char **why)
{
	const struct keyword_type *type = keyword->type;
	char *field = (char *)account + keyword->offset;

	if (argument[0] == '\0' && (keyword->flags & KEYWORD_EMPTY_IS_ON))
		argument = "on";
	if ((keyword->flags & KEYWORD_LATER) &&
	    !is_default(keyword, argument)) {
		*why = "not supported yet";
		return false;
	}
	if (type == NULL)
		return true;
	/* A section's own list starts anew over an inherited one. */
	if ((keyword->flags & KEYWORD_LIST) &&
	    (account->said & ~account->inherited & bit_of(keyword)) == 0)
		type->clear(field);
	if (!type->parse(keyword, argument, account, why))
		return false;
	note_said(account, keyword);
	return true;
}

void
account_free(struct account *account)
{
	size_t n;
	const struct keyword *table = keyword_table(&n);

	if (account == NULL)
		return;
	for (size_t i = 0; i < n; i++)
		if (table[i].type != NULL && table[i].type->clear != NULL)
			table[i].type->clear((char *)account + table[i].offset);
	free(account->uidls_said);
	free(account->server);
	free(account->file);
	free(account->name);
	free(account);
}
