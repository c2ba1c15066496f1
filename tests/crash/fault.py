# SPDX-License-Identifier: ISC
"""Let each call on message, directory, journal and mbox fail.

usage: fault.py [--cases N] [--jobs N] [--only TEXT]
"""

import sys

from kill import WORKER, options
from lab import Config, Lab, Tap, Violation, grid, in_threads

CLASSES = "mr"

# What the reason is called, and the calls that the error can come from.
ERRORS = {
    "ENOSPC": ("No space left on device",
               "open openat creat write pwrite64 writev fdatasync fsync mkdir "
               "mkdirat link linkat rename renameat ftruncate fallocate"),
    "EDQUOT": ("Disk quota exceeded",
               "fallocate openat write writev fdatasync fsync mkdir mkdirat linkat "
               "rename renameat"),
    "EIO": ("Input/output error",
            "open openat read pread64 write pwrite64 writev fdatasync fsync "
            "syncfs sync_file_range close mkdir mkdirat link linkat rename "
            "renameat unlink unlinkat ftruncate fallocate fstat newfstatat "
            "statx stat "
            "lstat getdents64 lseek fchmod flock fcntl access faccessat2 "
            "readlink"),
    "EROFS": ("Read-only file system",
              "open openat mkdir mkdirat link linkat rename renameat unlink "
              "unlinkat ftruncate fchmod access faccessat2"),
    "EMFILE": ("Too many open files", "open openat"),
    "short": ("", "write pwrite64 writev"),
}

FLUSHES = ("fdatasync", "fsync", "syncfs")
CODES = (73, 74)


class Point:
    """A call that is to fail: a line of step's log."""

    def __init__(self, call):
        self.number, self.name, self.file = int(call[1]), call[3], call[4]

    def __str__(self):
        return "call %d, %s %s" % (self.number, self.name, self.file)


def points(lab, error):
    """The calls of an undisturbed run that can fail so."""
    lab.fill()
    result = lab.run(["-c", CLASSES])
    if result.how != "exit" or result.code != 0:
        raise Violation("an undisturbed run: %s" % result)
    found = []
    for call in result.calls:
        point = Point(call)
        if int(call[0]) == WORKER and can_fail(point, lab, error):
            found.append(point)
    return found


def can_fail(point, lab, error):
    return point.file.startswith((lab.home, lab.tmp)) and (
        point.name in ERRORS[error][1].split())


def what_failed(result, planned):
    """Another timing may have brought another call, or, at the end, none."""
    for call in result.calls:
        if call[0] == str(WORKER) and int(call[1]) == planned.number:
            return Point(call)
    return None


def check_unharmed(result, lab):
    """Nothing failed, so nothing may be missing."""
    if result.code != 0:
        raise Violation("it did not come so far: %s" % result)
    lab.complete()


def check_told(result, point, error, lab):
    """Success means that all is here; else which file it was, and why."""
    if result.how != "exit":
        raise Violation("it ended by %s" % result)
    if result.code == 0:
        if point.name in FLUSHES and is_essential(point, lab):
            raise Violation("a flush failed, and nothing was said")
        lab.complete()
        return
    if result.code not in CODES:
        raise Violation("it ended with %s" % result)
    if ERRORS[error][0] not in result.errors:
        raise Violation("no reason: %s" % result)
    if lab.dir not in result.errors:
        raise Violation("no file: %s" % result)


def is_essential(point, lab):
    """The dotlock's own flushes say nothing about messages."""
    return not point.file.startswith(lab.tmp) and ".lock" not in point.file


def check_no_second_flush(result, point):
    """A flush that failed is not tried again as if it could succeed.  The
    mbox is: behind the cut, which its old bytes do not depend on."""
    if point.name not in FLUSHES:
        return
    after = [call for call in result.calls if call[0] == str(WORKER)
             and int(call[1]) > point.number]
    cut = False
    for call in after:
        cut = cut or call[3] == "ftruncate" and call[4] == point.file
        if call[3] in FLUSHES and call[4] == point.file and not cut:
            raise Violation("flushed again: %s" % point.file)


def check_cut_back(result, lab):
    """Only whole messages stand behind the old content."""
    if lab.config.kind == "mbox" and "cut back" not in result.errors:
        lab.delivered()


def one_case(lab, point, error, sticky):
    config = lab.config
    lab.fill()
    result = lab.run(["-c", CLASSES, "-p", str(WORKER), "-n",
                      str(point.number), "-a", error] + sticky)
    if result.how == "hung":
        raise Violation("it hung")
    point = what_failed(result, point)
    lab.safe()
    if point is None:
        check_unharmed(result, lab)
        return
    if not can_fail(point, lab, error):
        return
    if error == "short":
        if result.code != 0:
            raise Violation("a short write: %s" % result)
        lab.settled()
        return
    check_told(result, point, error, lab)
    check_no_second_flush(result, point)
    check_cut_back(result, lab)
    lab.recover(1 if config.kind == "mda" else 0, again=point.number % 9 == 0)


def row(tap, config, error, sticky, cases, index):
    name = "%s%s: %s" % (error, " from then on" if sticky else "", config)
    lab, failures, done = Lab(config, "fault%d" % index), [], 0
    try:
        found = points(lab, error)
        for at in grid(len(found), cases):
            try:
                one_case(lab, found[at - 1], error, sticky)
            except Violation as violation:
                failures.append("%s: %s" % (found[at - 1], violation))
            done += 1
    except Violation as violation:
        failures.append(violation)
    finally:
        lab.close()
    tap.result(name, done, failures)


def table():
    rows = []
    for error in ERRORS:
        for sticky in ([], ["-s"]) if error != "short" else ([],):
            for kind in ("maildir", "mbox"):
                for keep in ("off", "on"):
                    rows.append((Config(kind, keep, old=kind == "mbox"),
                                 error, sticky))
            rows.append((Config("mbox", messages="huge"), error, sticky))
            rows.append((Config("mda"), error, sticky))
    return rows


def main():
    cases, jobs, only = options(sys.argv)
    tap, tasks = Tap(), []
    for index, (config, error, sticky) in enumerate(table()):
        if only in "%s: %s" % (error, config):
            tasks.append(lambda c=config, e=error, s=sticky, i=index: row(
                tap, c, e, s, cases, i))
    in_threads(tasks, jobs)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
