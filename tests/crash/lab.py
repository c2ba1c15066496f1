# SPDX-License-Identifier: ISC
"""What the crash tests share: a home, a mailbox, a server, the promise.

A Lab is one home with one popd.  It can be filled anew for each case, and it
knows what must hold of it after a run that was disturbed (safe) and after the
undisturbed one that follows (settled).
"""

import os
import re
import subprocess
import sys
import threading
import time

POPLAR = os.environ.get("POPLAR", "./poplar")
POPD = os.environ.get("POPD", "./popd")
STEP = os.environ.get("STEP", "./step")
BASE = os.environ.get("CRASH_DIR") or (
    "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp")
# In memory nothing is flushed by threads.
DISK = os.environ.get("CRASH_DIR") or "/var/tmp"

OLD_MBOX = (b"From old@example.org Thu Jan  1 00:00:00 1970\n"
            b"Subject: old\n\nit was here before, without a line end")


class Violation(Exception):
    """The promise was broken."""


def remove(path):
    """rm -rf"""
    if os.path.isdir(path) and not os.path.islink(path):
        for name in os.listdir(path):
            remove(os.path.join(path, name))
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


# -- messages ------------------------------------------------------------

def small_message(i, body=b"Hello.\r\n"):
    return (b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\n"
            b"Subject: message %d\r\n\r\n" % i) + body


def few():
    """Five that tempt a fetcher: quoting, dots, equal ones, a large one."""
    hostile = (b"From me\r\n>From me\r\n>>From x\r\n.\r\n..\r\na\0\xff\rb\nc"
               b"\r\nFrom \r\nno line end")
    equal = small_message(7)
    line = b"0123456789abcdefghijklmnopqrstuvwxyz From here on\r\n"
    return {
        "m1": small_message(1, hostile),
        "m2": equal,
        "m3": small_message(3, line * 7000),
        "m4": equal,
        "m5": b"Subject: header only\r\n",
    }


def huge():
    """One that does not fit into the memory of an mbox batch."""
    line = b"0123456789abcdefghijklmnopqrstuvwxyz From here on\r\n"
    messages = few()
    messages["m3"] = small_message(3, line * 110000)
    return messages


def dozen():
    """Enough for a Maildir to flush them by several threads."""
    return {"m%02d" % i: small_message(i) for i in range(16)}


def many():
    """More than two batches."""
    return {"m%04d" % i: small_message(i) for i in range(2100)}


def is_of_somebody_else(name):
    """Has another process got the number in this name by now?  Then poplar
    has to leave the file alone."""
    owner = re.match(r"\d+\.M\d+P(\d+)Q", name)
    return owner is not None and os.path.exists("/proc/" + owner.group(1))


def as_delivered(wire):
    if wire and not wire.endswith(b"\r\n"):
        wire += b"\r\n"
    return wire.replace(b"\r\n", b"\n")


def split_mbox(data, old):
    """The messages behind the old content, unquoted; None if it is torn."""
    if not data.startswith(old):
        raise Violation("mbox: the old content was changed")
    rest = data[len(old):]
    if old and rest:
        lead = 0 if old.endswith(b"\n\n") else 1 if old.endswith(b"\n") else 2
        if rest[:lead] != b"\n" * lead:
            raise Violation("mbox: no line end behind the old content")
        rest = rest[lead:]
    messages = []
    starts = [m.start() for m in re.finditer(rb"^From ", rest, re.M)]
    if rest and (not starts or starts[0] != 0):
        raise Violation("mbox: garbage behind the old content")
    for start, end in zip(starts, starts[1:] + [len(rest)]):
        head, _, body = rest[start:end].partition(b"\n")
        if not re.fullmatch(
                rb"From \S+ \w{3} \w{3} [ \d]\d [\d:]{8} \d{4}", head):
            raise Violation("mbox: bad From_ line %r" % head)
        if not body.endswith(b"\n"):
            raise Violation("mbox: torn message %r" % body[:60])
        messages.append(re.sub(rb"^>(>*From )", rb"\1", body[:-1],
                               flags=re.M))
    return messages


# -- the place -----------------------------------------------------------

class Config:
    """What a run is like: destination, keep, pipelining, messages."""

    def __init__(self, kind, keep="off", pipelining="on", messages="few",
                 old=False, state="~/.local/state/poplar/state"):
        self.kind, self.keep, self.pipelining = kind, keep, pipelining
        self.messages, self.state = messages, state
        self.old = OLD_MBOX if old else b""
        self.box = {"few": few, "huge": huge, "dozen": dozen,
                    "many": many}[messages]()

    def __str__(self):
        return "%s, keep %s, pipelining %s, %s messages%s" % (
            self.kind, self.keep, self.pipelining, self.messages,
            ", old mbox" if self.old else "")

    def delivery(self):
        if self.kind == "maildir":
            return "maildir ~/Maildir"
        if self.kind == "mbox":
            return "mbox ~/mail/inbox"
        return ('mda cat >"$HOME/mda/.$$" && '
                'mv "$HOME/mda/.$$" "$HOME/mda/$POPLAR_UID.$$"')


class Result:
    """How a run ended."""

    def __init__(self, log, errors):
        words = log[-1].split() if log and log[-1].startswith("end") else [
            "end", "lost", "0", "0", "0"]
        self.how, self.code = words[1], int(words[2])
        self.after, self.fired = int(words[3]), words[4] == "1"
        self.calls = [line.rstrip("\n").split(" ", 4) for line in log[:-1]]
        self.errors = errors

    def __str__(self):
        return "%s %d %r" % (self.how, self.code, self.errors[:400])


class Lab:
    def __init__(self, config, name):
        self.config = config
        self.before = None     # of kill.py: where the run before dies
        self.dir = os.path.join(DISK if config.messages == "dozen" else BASE,
                                "poplar-crash.%d" % os.getpid(), name)
        self.home = os.path.join(self.dir, "home")
        self.box = os.path.join(self.dir, "box")
        self.tmp = os.path.join(self.dir, "tmp")
        remove(self.dir)
        os.makedirs(self.box)
        self.env = {"HOME": self.home, "TMPDIR": self.tmp, "LC_ALL": "C",
                    "TZ": "UTC", "PATH": os.environ["PATH"],
                    "ASAN_OPTIONS": "detect_leaks=0"}
        self.start_server()
        self.write_rc()

    def start_server(self):
        self.server_log = os.path.join(self.dir, "server")
        self.log_read = self.sessions = 0
        port = os.path.join(self.dir, "port")
        write(self.server_log, b"")
        options = [] if self.config.pipelining == "on" else ["--no-pipelining"]
        self.server = subprocess.Popen(
            [POPD, "mailbox", "--until-eof", "--lifetime", "3600",
             "--port-file", port, "--log", self.server_log] + options +
            [self.box], stdin=subprocess.PIPE)
        until = time.monotonic() + 10
        while not os.path.exists(port):
            if time.monotonic() > until:
                raise RuntimeError("popd does not start")
            time.sleep(0.005)
        self.port = int(read(port).split()[0])

    def write_rc(self, extra=()):
        config = self.config
        self.rc = os.path.join(self.dir, "rc")
        lines = ["account test", "host 127.0.0.1", "port %d" % self.port,
                 "tls off", "auth user", "user alice", "password sesame",
                 "timeout 10", "keep " + config.keep,
                 "pipelining " + config.pipelining,
                 "uidls_file " + config.state,
                 "delivery " + config.delivery()] + list(extra)
        write(self.rc, "\n".join(lines).encode() + b"\n")
        os.chmod(self.rc, 0o600)

    def close(self):
        self.server.stdin.close()
        self.server.wait()
        remove(self.dir)

    def mailbox(self):
        name = "mail/inbox" if self.config.kind == "mbox" else "Maildir"
        return os.path.join(self.home, name)

    def fill(self):
        """A new home, and all messages on the server."""
        remove(self.home)
        os.mkdir(self.home)
        remove(self.tmp)
        os.mkdir(self.tmp)
        self.fill_box(self.config.box)
        if self.config.kind == "mda":
            os.mkdir(os.path.join(self.home, "mda"))
        if self.config.kind == "mbox":
            os.mkdir(os.path.join(self.home, "mail"))
        if self.config.old:
            write(self.mailbox(), self.config.old)

    def fill_box(self, names):
        there = set(os.listdir(self.box))
        for name in there - set(names):
            os.unlink(os.path.join(self.box, name))
        for name in set(names) - there:
            write(os.path.join(self.box, name), self.config.box[name])

    # -- runs

    def run(self, step=(), poplar=()):
        """One run of poplar under step."""
        log = os.path.join(self.dir, "log")
        done = subprocess.run(
            [STEP, "-t", "30", "-l", log] + list(step) +
            ["--", os.path.abspath(POPLAR), "-C", self.rc] + list(poplar),
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, check=False, cwd=self.dir)
        if done.returncode != 0:
            raise RuntimeError("step: %r" % done.stderr)
        self.wait_for_server()
        with open(log, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
        return Result(lines, done.stderr.decode("utf-8", "replace"))

    def run_plain(self):
        """One undisturbed run of poplar; its exit code and errors."""
        done = subprocess.run(
            [POPLAR, "-C", self.rc], env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
            timeout=60)
        self.wait_for_server()
        return done.returncode, done.stderr.decode("utf-8", "replace")

    def wait_for_server(self):
        """Until it has dealt with what the last run left it."""
        until = time.monotonic() + 10
        while True:
            with open(self.server_log, "rb") as file:
                file.seek(self.log_read)
                log = file.read()
            log = log[:log.rfind(b"\n") + 1]
            self.log_read += len(log)
            self.sessions += log.count(b" connect\n") - log.count(b" close\n")
            if self.sessions == 0:
                return
            if time.monotonic() > until:
                raise RuntimeError("popd does not end its session")
            time.sleep(0.001)

    # -- what must hold

    def delivered(self):
        """What a mail reader sees."""
        if self.config.kind == "mbox":
            path = self.mailbox()
            data = read(path) if os.path.exists(path) else self.config.old
            return split_mbox(data, self.config.old)
        found = []
        folders = ["new", "cur"]
        base = self.mailbox()
        if self.config.kind == "mda":
            base, folders = self.home, ["mda"]
        for folder in folders:
            path = os.path.join(base, folder)
            for name in os.listdir(path) if os.path.isdir(path) else []:
                if not name.startswith("."):
                    found.append(read(os.path.join(path, name)))
        return found

    def delivered_safely(self):
        """The same, but of an mbox only what stands there whole: a run that
        died may have left half a message, for recovery to cut off."""
        if self.config.kind != "mbox":
            return self.delivered()
        path = self.mailbox()
        data = read(path) if os.path.exists(path) else self.config.old
        while True:
            try:
                return split_mbox(data, self.config.old)
            except Violation:
                at = data.rfind(b"\nFrom ", len(self.config.old)) + 1
                if at <= len(self.config.old) + 2:
                    return []
                data = data[:at]

    def safe(self):
        """After a disturbed run: what the server lost is here."""
        left = set(os.listdir(self.box))
        lost = [as_delivered(self.config.box[name])
                for name in self.config.box if name not in left]
        if lost and self.config.keep == "on":
            raise Violation("deleted under keep on")
        here = self.delivered_safely() if lost else []
        for text in lost:
            if text not in here:
                raise Violation("deleted but not delivered: %r" % text[:80])
            here.remove(text)

    def settled(self, twice=0):
        """After an undisturbed run: each message once, and nothing else."""
        self.complete(twice)
        self.tidy()

    def complete(self, twice=0):
        """Each message once, and on the server what shall stay there."""
        here = sorted(self.delivered())
        wanted = sorted(as_delivered(m) for m in self.config.box.values())
        extra = list(here)
        for text in wanted:
            if text not in extra:
                raise Violation("lost: %r" % text[:80])
            extra.remove(text)
        if len(extra) > twice or any(text not in wanted for text in extra):
            raise Violation("%d twice or damaged: %r" % (
                len(extra), extra[0][:80]))
        left = os.listdir(self.box)
        if self.config.keep == "off" and left:
            raise Violation("still on the server: %s" % left[:5])
        if self.config.keep == "on" and len(left) != len(self.config.box):
            raise Violation("deleted under keep on")

    def tidy(self):
        """No lock and no temporary file is left."""
        state = self.config.state.replace("~", self.home)
        for path, _, names in os.walk(self.home):
            for name in names:
                file = os.path.join(path, name)
                if file in (state, self.mailbox()) or (
                        os.path.basename(path) in ("new", "cur", "mda")):
                    continue
                if is_of_somebody_else(name):
                    continue
                raise Violation("left behind: " + file)
        if os.listdir(self.tmp):
            raise Violation("left behind in TMPDIR: %s" % os.listdir(self.tmp))

    def recover(self, twice=0, again=False):
        """The undisturbed run, or two of them, and its checks."""
        code, errors = self.run_plain()
        if code != 0:
            raise Violation("the next run ends with %d: %s" % (code, errors))
        self.settled(twice)
        if again:
            before = sorted(self.delivered())
            code, errors = self.run_plain()
            if code != 0:
                raise Violation("the run after: %d: %s" % (code, errors))
            if sorted(self.delivered()) != before:
                raise Violation("the run after it delivers once more")


# -- running many --------------------------------------------------------

class Tap:
    """Results, from several threads, and the first failures of each test."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = self.failed = self.cases = 0
        self.started = time.monotonic()

    def result(self, name, cases, failures):
        with self.lock:
            self.count += 1
            self.cases += cases
            self.failed += bool(failures)
            print("%s %d - %s (%d cases)" % (
                "not ok" if failures else "ok", self.count, name, cases))
            for failure in failures[:int(os.environ.get("CRASH_SHOW", 5))]:
                print("#   " + str(failure).replace("\n", "\n#   "))
            if len(failures) > 5:
                print("#   ... %d failures in all" % len(failures))
            sys.stdout.flush()

    def done(self):
        print("1..%d" % self.count)
        print("# %d cases in %.0f s" % (
            self.cases, time.monotonic() - self.started))
        remove(os.path.join(BASE, "poplar-crash.%d" % os.getpid()))
        return 1 if self.failed else 0


def in_threads(tasks, jobs):
    """Call each task; jobs at a time.  What they raise ends the program."""
    pending, lock, raised = list(tasks), threading.Lock(), []

    def work():
        while True:
            with lock:
                if not pending or raised:
                    return
                task = pending.pop(0)
            try:
                task()
            except BaseException as error:  # told to the main thread
                raised.append(error)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def grid(n, cases):
    """At most so many of the numbers 1 ... n, evenly."""
    if cases <= 0 or cases >= n:
        return list(range(1, n + 1))
    return sorted({1 + i * (n - 1) // max(cases - 1, 1)
                   for i in range(cases)})
