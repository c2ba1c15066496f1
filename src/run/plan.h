/* SPDX-License-Identifier: ISC */
/* What to do with one listed message: a pure function of three things. */
#ifndef RUN_PLAN_H
#define RUN_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum plan_action {
	PLAN_FETCH,
	PLAN_SKIP,
	PLAN_DELETE, /* without fetching it */
};

#define PLAN_NO_LIMIT UINT64_MAX
#define PLAN_OCTETS_UNKNOWN UINT64_MAX

struct plan_settings {
	bool only_new;
	bool delete_delivered; /* keep off */
	uint64_t keep_seconds; /* keep TIME; 0: never delete by age */
	uint64_t killsize;     /* octets or PLAN_NO_LIMIT */
	uint64_t skipsize;
	time_t now;
	bool clock_is_odd; /* nothing may be deleted by age in this run */
};

struct plan_message {
	uint64_t octets;  /* as listed, or PLAN_OCTETS_UNKNOWN */
	bool known;	  /* delivered, imported or marked before */
	bool may_delete;  /* it was delivered, and is still that message */
	time_t delivered; /* when, if known */
};

/* *why becomes a phrase for people: "new", "seen", "larger than skipsize". */
enum plan_action plan_decide(const struct plan_settings *settings,
    const struct plan_message *message, const char **why);

/* May a message be deleted that was delivered just now? */
bool plan_delete_after_delivery(const struct plan_settings *settings);

/* May one be deleted that an earlier run delivered? */
bool plan_may_delete_known(const struct plan_settings *settings);

/* The word for an action: "fetch". */
const char *plan_action_word(enum plan_action action);

#endif
