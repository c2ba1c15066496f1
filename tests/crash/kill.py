# SPDX-License-Identifier: ISC
"""Stop poplar at each of its system calls, and run it again.

usage: kill.py [--cases N] [--jobs N] [--only TEXT]

--cases limits the stops of each row of the table below (0: as it says).
"""

import os
import sys

from lab import Config, Lab, Tap, Violation, grid, in_threads

# A stop in front of each call is a stop behind the one before; calls that
# only read make no difference between two stops.
CLASSES = "mnp"
WORKER = 1


def options(argv):
    values = {"--cases": "0", "--jobs": str(os.cpu_count() or 2),
              "--only": ""}
    for i in range(1, len(argv), 2):
        if argv[i] not in values or i + 1 == len(argv):
            sys.exit(__doc__)
        values[argv[i]] = argv[i + 1]
    return int(values["--cases"]), int(values["--jobs"]), values["--only"]


def check_stopped(result, config, lab):
    """A request to stop: soon, and with the right exit code."""
    if result.how == "hung" or result.after > 2000:
        raise Violation("it took %d ms to stop" % result.after)
    if result.how == "signal" or result.code == 75:
        return
    if result.code != 0:
        raise Violation("stopped with %s" % result)
    lab.settled(1 if config.kind == "mda" else 0)


def kill_before(lab, before):
    """The run before died: at the Kth call of this NAME by its worker."""
    lab.fill()
    if before is None:
        return
    if lab.before is None:
        # Of these there are the same in each run.
        lab.before = [call[1] for call in lab.run(["-c", "m"]).calls
                      if int(call[0]) == WORKER and call[3] == before[0]]
        lab.fill()
    lab.run(["-c", "m", "-p", str(WORKER), "-n", lab.before[before[1] - 1]])


def one_case(lab, process, n, action, before):
    config = lab.config
    twice = 1 if config.kind == "mda" else 0
    kill_before(lab, before)
    result = lab.run(["-c", CLASSES, "-p", str(process), "-n", str(n),
                      "-a", action])
    if result.how == "hung":
        raise Violation("it hung")
    lab.safe()
    if result.fired and not action.startswith("kill"):
        check_stopped(result, config, lab)
    lab.recover(twice, again=n % 7 == 0 or config.kind == "mda")
    return result


def settle_count(lab, process, before):
    """The number of calls of an undisturbed run."""
    kill_before(lab, before)
    result = lab.run(["-c", CLASSES])
    if result.how != "exit" or result.code != 0:
        raise Violation("an undisturbed run: %s" % result)
    lab.settled()
    calls = [call for call in result.calls if int(call[0]) == process]
    first = 1
    if process == 0:  # not the dynamic linker's
        first += sum(1 for call in calls if call[4].startswith(
            ("/lib", "/usr", "/etc")))
    return first, len(calls)


def name_of(config, process, action, before):
    return "%s in process %d: %s%s" % (
        action, process, config,
        ", behind a run killed at %s %d" % before if before else "")


def row(tap, what, cases, index):
    config, process, action, before = what
    lab, failures, done = Lab(config, "kill%d" % index), [], 0
    try:
        first, n = settle_count(lab, process, before)
        # Some more: another timing may bring other calls.
        for at in grid(n - first + 3, cases):
            try:
                one_case(lab, process, first - 1 + at, action, before)
            except Violation as violation:
                failures.append("call %d: %s" % (first - 1 + at, violation))
            done += 1
    except Violation as violation:
        failures.append(violation)
    finally:
        lab.close()
    tap.result(name_of(*what), done, failures)


def table():
    rows = []
    for kind in ("maildir", "mbox"):
        for keep in ("off", "on"):
            for pipelining in ("on", "off"):
                config = (kind, keep, pipelining)
                rows.append((Config(*config), WORKER, "kill", 0))
                rows.append((Config(*config, "many"), WORKER, "kill", 60))
        rows.append((Config(kind), WORKER, "kill-caller", 0))
        rows.append((Config(kind), WORKER, "kill-first", 0))
        rows.append((Config(kind), 0, "kill-first", 0))
        for action in ("term", "term-all", "term-caller", "int-all", "hup"):
            rows.append((Config(kind), WORKER, action, 0))
        rows.append((Config(kind, "on", "off"), WORKER, "term", 0))
        rows.append((Config(kind), 0, "term", 0))
        rows.append((Config(kind, "off", "on", "many"), WORKER, "term", 40))
    rows.append((Config("mbox", old=True), WORKER, "kill", 0))
    rows.append((Config("mbox", "on", old=True), WORKER, "kill", 0))
    rows.append((Config("mbox", "off", "on", "huge"), WORKER, "kill", 0))
    for action in ("kill", "kill-caller", "kill-first", "term", "term-all"):
        rows.append((Config("mda"), WORKER, action, 0))
    rows.append((Config("mda", "on", "off"), WORKER, "kill", 0))
    rows = [row + (None,) for row in rows]
    for before in (("fdatasync", 6), ("renameat", 1), ("renameat", 4)):
        rows.append((Config("maildir"), WORKER, "kill", 0, before))
    for before in (("writev", 1), ("fdatasync", 3), ("fdatasync", 4)):
        rows.append((Config("mbox", old=True), WORKER, "kill", 0, before))
    rows.append((Config("mbox", messages="huge"), WORKER, "kill", 0,
                 ("writev", 11)))
    return rows


def main():
    limit, jobs, only = options(sys.argv)
    tap, tasks = Tap(), []
    for index, (config, process, action, cases, before) in enumerate(table()):
        what = (config, process, action, before)
        if only in name_of(*what):
            cases = limit if cases == 0 or 0 < limit < cases else cases
            tasks.append(lambda w=what, n=cases, i=index: row(tap, w, n, i))
    in_threads(tasks, jobs)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
