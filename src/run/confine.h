/* SPDX-License-Identifier: ISC */
/* What a worker may still touch, step by step less. */
#ifndef RUN_CONFINE_H
#define RUN_CONFINE_H

#include "run/fetch.h"

/*
 * Before dialling: no writes but below the destination, the state's directory
 * and the one for temporary files.  An account whose delivery runs a command
 * is left alone, as that may need privileges (setgid mail programs), and so
 * is, until the login, one with a tunnel or with its key on a token.
 */
void confine_writes(const struct fetch *fetch);

/* After the login: no reads elsewhere either. */
void confine_all(const struct fetch *fetch);

#endif
