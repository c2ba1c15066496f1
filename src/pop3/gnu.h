/* SPDX-License-Identifier: ISC */
/* The mechanisms of GNU SASL, for sasl.c; all that knows its types. */
#ifndef POP3_GNU_H
#define POP3_GNU_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "pop3/sasl.h"

struct gnu;

/* Is the library here, and was it built with this mechanism? */
bool gnu_has(const char *name);

/* "GNU SASL 2.2.0"; NULL if the program was built without it. */
const char *gnu_version(void);

/* The client's side of a mechanism; NULL with ERR_CONFIG if it is not here. */
struct gnu *gnu_open(
    const char *name, const struct sasl_params *params, struct err *err);
void gnu_close(struct gnu *gnu); /* NULL is nothing to do */

/* The response to a decoded challenge, appended; *complete when the library
 * has nothing more to say, and the server has proved what it has to. */
int gnu_step(struct gnu *gnu, const struct buf *challenge, struct buf *response,
    bool *complete, struct err *err);

#endif
