/* SPDX-License-Identifier: ISC */
/* An account as the sum of what its keywords said. */
#ifndef CONF_ACCOUNT_H
#define CONF_ACCOUNT_H

#include <stdbool.h>

#include "conf/keyword.h"

/* One without a name, with the defaults of the table. */
struct account *account_new(void);

/* A copy without name and place in which nothing counts as said. */
struct account *account_copy(const struct account *from);

/* Copy over every keyword that was said in the parent or its parents. */
void account_inherit(struct account *account, const struct account *parent);

/* Check and store an argument ("" for none); why is set on failure. */
bool account_set(struct account *account, const struct keyword *keyword,
    const char *argument, const char **why);

/* The account of a conf with this name, or NULL. */
struct account *conf_find(const struct conf *conf, const char *name);

/* Takes the account over. */
void conf_add(struct conf *conf, struct account *account);

/* Wipes the secrets; NULL is nothing to do. */
void account_free(struct account *account);

#endif
