/* SPDX-License-Identifier: ISC */
#include "run/plan.h"

#include "tap.h"

#define NOW 1800000000
#define DAY 86400

static const struct plan_settings keep_on = {
    .only_new = true,
    .killsize = PLAN_NO_LIMIT,
    .skipsize = PLAN_NO_LIMIT,
    .now = NOW,
};

static const struct plan_message fresh = {.octets = 1000};
static const struct plan_message delivered = {
    .octets = 1000, .known = true, .may_delete = true, .delivered = NOW - DAY};

static void
expect(struct plan_settings settings, struct plan_message message,
    enum plan_action action, const char *name)
{
	const char *why = NULL;

	tap_ok(plan_decide(&settings, &message, &why) == action && why != NULL,
	    "%s: %s", name, plan_action_word(action));
}

static void
test_known(void)
{
	struct plan_settings settings = keep_on;
	struct plan_message message = delivered;

	expect(settings, fresh, PLAN_FETCH, "new");
	expect(settings, delivered, PLAN_SKIP, "known, keep on");
	settings.only_new = false;
	expect(settings, delivered, PLAN_FETCH, "known, only_new off");
	settings.only_new = true;
	settings.delete_delivered = true;
	expect(settings, delivered, PLAN_DELETE, "known, keep off");
	message.may_delete = false;
	expect(settings, message, PLAN_SKIP, "marked, keep off");
}

static void
test_age(void)
{
	struct plan_settings settings = keep_on;
	struct plan_message message = delivered;

	settings.keep_seconds = DAY;
	expect(settings, delivered, PLAN_DELETE, "exactly as old as keep");
	settings.keep_seconds = DAY + 1;
	expect(settings, delivered, PLAN_SKIP, "a second younger");
	settings.keep_seconds = DAY;
	settings.clock_is_odd = true;
	expect(settings, delivered, PLAN_SKIP, "a clock that is odd");
	settings.clock_is_odd = false;
	message.delivered = NOW + DAY;
	expect(settings, message, PLAN_SKIP, "delivered in the future");
	message = delivered;
	message.may_delete = false;
	expect(settings, message, PLAN_SKIP, "old, but marked");
}

static void
test_sizes(void)
{
	struct plan_settings settings = keep_on;
	struct plan_message unknown = {.octets = PLAN_OCTETS_UNKNOWN};

	settings.skipsize = 1000;
	expect(settings, fresh, PLAN_SKIP, "as large as skipsize");
	settings.skipsize = 1001;
	expect(settings, fresh, PLAN_FETCH, "smaller than skipsize");
	settings.killsize = 1000;
	expect(settings, fresh, PLAN_SKIP, "as large as killsize, keep on");
	settings.keep_seconds = 1;
	expect(settings, fresh, PLAN_SKIP, "as large as killsize, keep TIME");
	settings.delete_delivered = true;
	expect(settings, fresh, PLAN_DELETE, "as large as killsize, keep off");
	expect(settings, unknown, PLAN_FETCH, "of unknown size");
	settings.killsize = 0;
	settings.delete_delivered = false;
	expect(settings, fresh, PLAN_SKIP, "killsize 0, keep on");
}

int
main(void)
{
	test_known();
	test_age();
	test_sizes();
	return tap_done();
}
