/* SPDX-License-Identifier: ISC */
/* What a delivery back end is to deliver.c, which alone includes this, and
 * the back ends themselves. */
#ifndef MAIL_BACKEND_H
#define MAIL_BACKEND_H

#include "mail/deliver.h"

/* A back end's own struct begins with this one. */
struct deliver {
	const struct deliver_backend *backend;
};

/* So does what a back end keeps locked between recovery and release. */
struct deliver_lock {
	const struct deliver_backend *backend;
};

/* The verbs mean what deliver.h says of deliver_VERB; NULL is "nothing to
 * do", as release for a Maildir. */
struct deliver_backend {
	const char *word;
	bool holds_lock;
	size_t batch_max;
	uint64_t batch_octets;
	struct deliver *(*open)(
	    const struct deliver_params *params, struct err *err);
	int (*begin)(struct deliver *deliver,
	    const struct deliver_message *message, struct err *err);
	int (*write)(struct deliver *deliver, const char *data, size_t n,
	    struct err *err);
	int (*stage)(struct deliver *deliver, const struct deliver_facts *facts,
	    char place[DELIVER_PLACE_MAX], struct err *err);
	void (*abort)(struct deliver *deliver);
	int (*sync)(struct deliver *deliver, char where[DELIVER_WHERE_MAX],
	    struct err *err);
	int (*publish)(struct deliver *deliver, struct err *err);
	void (*release)(struct deliver *deliver);
	void (*close)(struct deliver *deliver);
	const char *(*note)(const struct deliver *deliver);
	/* where without the back end's word and the blank before it */
	int (*recover)(const char *where, struct deliver_recovery *items,
	    size_t n, struct deliver_lock **lock, struct err *err);
	void (*recovery_release)(struct deliver_lock *lock);
	void (*tidy)(const char *where);
	int (*scan)(const struct deliver_params *params, deliver_found *found,
	    void *context, struct err *err);
};

extern const struct deliver_backend maildir_backend;
extern const struct deliver_backend mbox_backend;
extern const struct deliver_backend mda_backend;

#endif
