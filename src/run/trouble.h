/* SPDX-License-Identifier: ISC */
/* Messages that fail (quarantine_after). */
#ifndef RUN_TROUBLE_H
#define RUN_TROUBLE_H

#include "run/retrieval.h"

/* An attempt at a message begins, and has ended well or ill.  It is known
 * whatever becomes of this process; -1 when the state cannot be written. */
int trouble_try(struct retrieval *r, uint32_t message, struct err *err);
void trouble_tried(struct retrieval *r);

/* One ended ill: through a fault of the message itself, if status is
 * DELIVER_REFUSED. */
void trouble_failed(struct retrieval *r, uint32_t message, int status);

/* The line broke, or went out of step, in the attempt at this. */
void trouble_broke(struct retrieval *r, uint32_t message);

/*
 * Those that failed although others did not are to blame for it; those that
 * are so for too often go into the quarantine.  -1 when the session is over.
 */
int trouble_judge(struct retrieval *r, struct err *err);

#endif
