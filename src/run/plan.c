/* SPDX-License-Identifier: ISC */
#include "run/plan.h"

static bool
is_as_large_as(const struct plan_message *message, uint64_t limit)
{
	return limit != PLAN_NO_LIMIT &&
	    message->octets != PLAN_OCTETS_UNKNOWN && message->octets >= limit;
}

static bool
is_old_enough(const struct plan_settings *settings, time_t delivered)
{
	return settings->keep_seconds > 0 && !settings->clock_is_odd &&
	    settings->now >= delivered &&
	    (uint64_t)(settings->now - delivered) >= settings->keep_seconds;
}

static enum plan_action
decide_known(const struct plan_settings *settings,
    const struct plan_message *message, const char **why)
{
	if (!message->may_delete) {
		*why = "seen";
		return PLAN_SKIP;
	}
	if (settings->delete_delivered) {
		*why = "delivered by an earlier run";
		return PLAN_DELETE;
	}
	if (is_old_enough(settings, message->delivered)) {
		*why = "delivered longer ago than keep";
		return PLAN_DELETE;
	}
	*why = "seen";
	return PLAN_SKIP;
}

enum plan_action
plan_decide(const struct plan_settings *settings,
    const struct plan_message *message, const char **why)
{
	if (message->known && settings->only_new)
		return decide_known(settings, message, why);
	if (is_as_large_as(message, settings->killsize)) {
		*why = "as large as killsize";
		return settings->delete_delivered ? PLAN_DELETE : PLAN_SKIP;
	}
	if (is_as_large_as(message, settings->skipsize)) {
		*why = "as large as skipsize";
		return PLAN_SKIP;
	}
	if (settings->delete_delivered)
		*why = "new, then delete";
	else
		*why = message->known ? "seen, but only_new is off" : "new";
	return PLAN_FETCH;
}

bool
plan_delete_after_delivery(const struct plan_settings *settings)
{
	return settings->delete_delivered;
}

bool
plan_may_delete_known(const struct plan_settings *settings)
{
	return settings->delete_delivered || settings->keep_seconds > 0;
}

const char *
plan_action_word(enum plan_action action)
{
	static const char *const words[] = {
	    [PLAN_FETCH] = "fetch",
	    [PLAN_SKIP] = "skip",
	    [PLAN_DELETE] = "delete",
	};

	return words[action];
}
