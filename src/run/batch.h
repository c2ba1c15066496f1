/* SPDX-License-Identifier: ISC */
/*
 * Messages that are received and become safe together.  -1 from any of these:
 * the place or the state failed, and the account is at its end.
 */
#ifndef RUN_BATCH_H
#define RUN_BATCH_H

#include "run/retrieval.h"

/* Make the batch durable, record it, publish it; then its messages may be
 * deleted.  Nothing, if it is empty. */
int batch_commit(struct retrieval *r, struct err *err);

/* The same, if it is full, or old enough. */
int batch_commit_if_due(struct retrieval *r, struct err *err);

/* Forget the batch. */
void batch_clear(struct retrieval *r);

/* Note that it was the place's failure.  Always returns -1. */
int batch_place_failed(struct retrieval *r, struct err *err);

#endif
