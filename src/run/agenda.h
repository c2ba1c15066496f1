/* SPDX-License-Identifier: ISC */
/* The plan of a session: each listed message as plan_decide has it. */
#ifndef RUN_AGENDA_H
#define RUN_AGENDA_H

#include "run/fetch.h"

/* Make fetch->plan of the listing, when it is settled who is who, and tell the
 * parent. */
int agenda_make(struct fetch *fetch, struct err *err);

#endif
