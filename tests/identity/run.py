# SPDX-License-Identifier: ISC
"""Play random histories of a mailbox to poplar, and see whether its promise
holds.

usage: run.py [--seeds FIRST-LAST] [--seconds N] [--jobs N] [-v]

A seed is a history, always the same.  --seconds ends it after so long, whatever
seed it has come to.  Of a seed that failed a history is printed that fails in
the same way, with as few steps as that takes; -v prints all of each.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pool

from history import RC, change_rc, change_traits, draw_history
from mailbox import Mailbox
from promise import DAY, Promise, Violation
from server import Session, Traits

POPLAR = os.environ.get("POPLAR", "./poplar")
BASE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SHRINKS = 300  # attempts
SHOWN = 10     # failures, then it is enough
PATIENCE = 60  # seconds for a run
AGAIN = 20     # attempts; a kill does not always come at the same instant


def find_faketime():
    """The library, if this poplar bears it."""
    try:
        library = subprocess.run(
            ["faketime", "-f", "+1d", "sh", "-c", "echo $LD_PRELOAD"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            check=True).stdout.decode().strip()
        subprocess.run([POPLAR, "--version"], check=True,
                       env={"LD_PRELOAD": library, "FAKETIME": "+1d"},
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return library
    except (OSError, subprocess.CalledProcessError):
        return None


def sweep_faketime(pid):
    """What the library leaves behind with a process that was killed."""
    for name in ("faketime_shm_%d", "sem.faketime_sem_%d"):
        try:
            os.unlink(os.path.join("/dev/shm", name % pid))
        except FileNotFoundError:
            pass


FAKETIME = find_faketime()


class World:
    """A home, a mailbox on a server, and what becomes of them."""

    def __init__(self, verbose=False):
        self.log, self.verbose = [], verbose
        self.home = tempfile.mkdtemp()
        self.mailbox, self.traits = Mailbox(self.say), Traits()
        self.promise = Promise(self.say)
        self.rc = {name: values[0] for name, values in RC.items()}
        self.days = 0
        self.state = os.path.join(self.home, "state")
        self.maildir = os.path.join(self.home, "Maildir")

    def close(self):
        shutil.rmtree(self.home)

    def say(self, line):
        self.log.append(line)
        if self.verbose:
            print(line)

    def now(self):
        return time.time() + self.days * DAY

    # -- a run ---------------------------------------------------------------

    def write_rc(self, port):
        path = os.path.join(self.home, ".poplarrc")
        lines = ["account test", "host 127.0.0.1", "port %d" % port,
                 "tls off", "auth user", "user alice", "password sesame",
                 "timeout 20", "uidls_file ~/state"]
        lines += ["%s %s" % item for item in self.rc.items()]
        with open(path, "w", encoding="ascii") as file:
            os.chmod(path, 0o600)
            file.write("\n".join(lines) + "\n")

    def environment(self):
        env = {name: value for name, value in os.environ.items()
               if name.endswith("SAN_OPTIONS")}
        env.update(HOME=self.home, TMPDIR=self.home, LC_ALL="C", TZ="UTC")
        if self.days:
            env.update(LD_PRELOAD=FAKETIME, FAKETIME="%+dd" % self.days)
        return env

    def poplar(self, session):
        """Run it once against this session: exit code, None if it was killed,
        and what it said."""
        with subprocess.Popen(
                [POPLAR], env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True) as process:
            session.kill = lambda: os.killpg(process.pid, signal.SIGKILL)
            session.thread.start()
            try:
                said = process.communicate(timeout=PATIENCE)[0]
            except subprocess.TimeoutExpired:
                session.kill()
                raise Violation("it hangs") from None
        session.end()
        if process.returncode < 0 and self.days:
            sweep_faketime(process.pid)
        if session.error:
            raise Violation("the server: %r" % session.error)
        code = process.returncode
        return (code if code >= 0 else None), said.decode("latin-1")

    def wait_for_lock(self):
        """What was killed may not be quite dead."""
        if os.path.exists(self.state):
            with open(self.state, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)

    def do_run(self, *trouble):
        self.wait_for_lock()
        session = Session(self.mailbox, self.traits, trouble)
        self.write_rc(session.port)
        self.promise.before(session, self.rc, self.now())
        session.code, session.errors = self.poplar(session)
        for one in session.listed:
            if one.deleted:
                self.mailbox.gone(one.mail)
        self.say("run: %s %d; %s; %s" % (trouble + (
            ", ".join("%s %s" % item for item in self.rc.items()),
            self.traits)))
        self.tell(session)
        self.promise.after(session, self.maildir)

    def tell(self, session):
        """What the session was."""
        for one in session.listed:
            self.say("    %d %s%s%s%s" % (
                one.number, one.mail, ": %s octets" % one.size,
                ", given" if one.given else "",
                ", deleted" if one.deleted else ""))
        self.say("    commands: %s" % " ".join(
            line.replace(" ", "") for line in session.commands))
        self.say("    exit %s%s" % (session.code, "".join(
            "\n    | " + line for line in session.errors.splitlines())))

    # -- what happens here ---------------------------------------------------

    def do_server(self, *picks):
        self.traits = change_traits(self.traits, *picks)

    def do_rc(self, *picks):
        change_rc(self.rc, *picks)

    def do_mpop(self, a, b, _):
        """mpop was used so far."""
        known = self.mailbox.some(a, b)
        folder = os.path.join(self.home, ".mpop_uidls")
        if not known or os.path.exists(folder):
            return
        os.mkdir(folder)
        with open(os.path.join(folder, "alice_at_127.0.0.1"), "w",
                  encoding="ascii") as file:
            file.write(" %d 127.0.0.1 alice\n" % len(known))
            for mail in known:
                file.write(mail.uid + "\n")
        self.say("mpop knows %s" % ", ".join(str(mail) for mail in known))
        self.promise.imported(known)

    def do_lose(self, *_):
        if os.path.exists(self.state):
            os.unlink(self.state)
            self.say("the state is lost")
            self.promise.damaged()

    def do_tear(self, a, *_):
        """Its end is missing, but never just behind a whole session: that
        would be an old copy, which nobody can tell from a good one."""
        if not os.path.exists(self.state):
            return
        with open(self.state, "rb+") as file:
            data = file.read()
            at = int(len(data) * (1 - a * a))
            if re.search(rb"(^|\n)session [^\n]*\n\Z", data[:at]):
                at -= 1
            file.truncate(at)
        self.say("the state is torn at %d of %d" % (at, len(data)))
        self.promise.damaged()

    def do_read(self, *_):
        """A reader moves what is new."""
        folder = os.path.join(self.maildir, "new")
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            os.rename(os.path.join(folder, name),
                      os.path.join(self.maildir, "cur", name + ":2,S"))
        self.say("all mail is read")

    def do_days(self, a, *_):
        if FAKETIME:
            self.days += (1, 1, 2, 5, 40, -1)[int(a * 6)]
            self.say("it is day %d" % self.days)

    def do_month(self, *_):
        """A run on each of many days, so that what is not listed is
        forgotten."""
        for _ in range(31 if FAKETIME else 0):
            self.days += 1
            self.do_run("none", 0)
        self.promise.month_passed(bool(FAKETIME))

    # -- all of it -----------------------------------------------------------

    def play(self, steps):
        for name, *rest in steps:
            do = getattr(self, "do_" + name, None) or getattr(
                self.mailbox, "do_" + name)
            do(*rest)
        # In the end all is well, twice.
        self.rc["max_messages"] = "off"
        for _ in range(2):
            self.do_run("none", 0)
        self.promise.settled()


def play(steps, verbose=False):
    """The violation, or None, and what happened."""
    world = World(verbose)
    try:
        world.play(steps)
        return None, world.log
    except Violation as violation:
        return str(violation), world.log
    finally:
        world.close()


def kind_of(violation):
    return violation.split(":")[0]


def shrink(steps, violation):
    """Leave out what is not needed for a failure of this kind."""
    tries, size = 0, max(len(steps) // 4, 1)
    while size > 0:
        at = len(steps)
        while at > 0 and tries < SHRINKS:
            at -= size
            fewer = steps[:max(at, 0)] + steps[at + size:]
            tries += 1
            again = play(fewer)[0]
            if again is not None and kind_of(again) == kind_of(violation):
                steps = fewer
        size //= 2
    return steps


def try_seed(seed):
    return seed, play(draw_history(seed))[0]


def report(seed, violation):
    print("# seed %d: %s" % (seed, violation))
    steps = shrink(draw_history(seed), violation)
    for _ in range(AGAIN):
        again, log = play(steps)
        if again is not None:
            break
    print("# at its shortest: %s" % again)
    for line in log:
        print("#   " + line.replace("\n", "\n#   "))
    sys.stdout.flush()


def options(argv):
    values = {"--seeds": "1-1000000", "--seconds": "0",
              "--jobs": str(os.cpu_count() or 2)}
    if "-v" in argv:
        argv.remove("-v")
        values["-v"] = True
    for i in range(1, len(argv), 2):
        if argv[i] not in values or i + 1 == len(argv):
            sys.exit(__doc__)
        values[argv[i]] = argv[i + 1]
    first, _, last = values["--seeds"].partition("-")
    return (range(int(first), int(last or first) + 1),
            float(values["--seconds"]), int(values["--jobs"]),
            "-v" in values)


def main():
    seeds, seconds, jobs, verbose = options(sys.argv)
    with tempfile.TemporaryDirectory(
            prefix="poplar-identity.", dir=BASE) as tempfile.tempdir:
        if not verbose:
            return play_all(seeds, seconds, jobs)
        for seed in seeds:
            print("# seed %d: %s" % (seed, play(draw_history(seed), True)[0]))
    return 0


def play_all(seeds, seconds, jobs):
    started, done, failed = time.monotonic(), 0, []
    with Pool(jobs) as pool:
        for seed, violation in pool.imap(try_seed, seeds):
            done += 1
            if violation is not None:
                failed.append(seed)
                report(seed, violation)
            if len(failed) == SHOWN or (
                    0 < seconds < time.monotonic() - started):
                break
        pool.terminate()
    print("# %d histories in %.0f s, failed: %s" % (
        done, time.monotonic() - started, failed or "none"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
