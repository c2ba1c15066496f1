# SPDX-License-Identifier: ISC
"""Measure poplar beside its peers and the least that the work can cost.

usage: run.py [option ...] [WORK ...]        see README
"""

import argparse
import os
import poplib
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

POPLAR = os.environ.get("POPLAR", "./poplar")
POPD = os.environ.get("POPD", "./popd")
BUILT = os.path.join(os.path.dirname(POPLAR), "tests/bench")
FLOOR, COST = BUILT + "/floor", BUILT + "/cost"
MEMORY = "/dev/shm"


@dataclass
class Work:
    what: str
    messages: int
    size: int = 4096
    kind: str = "maildir"      # mbox, mda
    tls: bool = False
    keep: bool = True
    latency: int = 0           # milliseconds
    accounts: int = 1
    known: bool = False        # all of them were fetched before
    memory: bool = False       # delivered to a tmpfs
    rounds: int = 1            # so many times the usual number

    def users(self):
        return ["user%d" % (i + 1) for i in range(self.accounts)]

    def scaled(self, by):
        self.messages = max(self.messages // by, min(self.messages, 5))
        self.size = max(self.size // by, 400)
        self.accounts = max(self.accounts // by, min(self.accounts, 3))
        return self


def works():
    return {
        "maildir": Work("10,000 x 4 KiB to a Maildir", 10000),
        "maildir-tls": Work("the same over TLS", 10000, tls=True),
        "maildir-memory": Work("the same without, into memory", 10000,
                               memory=True),
        "mbox": Work("10,000 x 4 KiB to an mbox", 10000, kind="mbox"),
        "mda": Work("1,000 x 4 KiB to cat >/dev/null", 1000, kind="mda"),
        "delete": Work("5,000 x 4 KiB, and delete them", 5000, keep=False),
        "large": Work("one message of 1 GiB", 1, size=1 << 30),
        "large-tls": Work("the same over TLS", 1, size=1 << 30, tls=True),
        "poll": Work("nothing new, 200,000 known", 200000, 400, known=True),
        "poll-million": Work("nothing new, a million known", 1000000, 400,
                             known=True),
        "latency": Work("1,000 x 4 KiB, 50 ms a round trip", 1000,
                        latency=50),
        "accounts": Work("50 accounts x 100 x 4 KiB at 50 ms", 100,
                         accounts=50, latency=50),
        "empty": Work("an empty mailbox", 0, rounds=5),
        "empty-tls": Work("the same over TLS", 0, tls=True, rounds=5),
    }


def curves():
    """How cost grows with one thing."""
    found = {}
    for n in (100, 1000, 10000, 100000):
        found["messages-%d" % n] = Work("%d x 4 KiB" % n, n)
    for n in (1000, 10000, 100000, 1000000):
        found["known-%d" % n] = Work("%d known" % n, n, 400, known=True)
    for n in (1, 10, 50, 200):
        found["accounts-%d" % n] = Work(
            "%d accounts x 20 x 4 KiB at 50 ms" % n, 20, accounts=n,
            latency=50)
    for n in (1, 16, 256, 1024):
        found["size-%d" % n] = Work("one of %d MiB" % n, 1, size=n << 20)
    for n in (0, 20, 50, 100, 200):
        found["rtt-%d" % n] = Work("1,000 x 4 KiB at %d ms" % n, 1000,
                                   latency=n)
    return found


# -- the clients ---------------------------------------------------------

class Unable(Exception):
    """It is not installed, or cannot do this work."""


class Job:
    """One home, to be worked in by one client after the other's is gone."""

    def __init__(self, work, home, port, cert):
        self.work, self.home, self.port, self.cert = work, home, port, cert
        self.good = (0,)
        for user in work.users():
            for folder in ("tmp", "new", "cur"):
                os.makedirs("%s/%s" % (self.place(user), folder))
        os.mkdir(home + "/.mpop_uidls")

    def place(self, user):
        return "%s/box%s" % (self.home, user[4:] if self.work.accounts > 1
                             else "")

    def mbox(self):
        return self.home + "/mbox"

    def write(self, name, text):
        path = "%s/%s" % (self.home, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def delivered(self):
        if self.work.kind == "mbox":
            with open(self.mbox(), "rb") as file:
                return file.read().count(b"\nSubject: Message number ")
        return sum(len(os.listdir(self.place(user) + "/new"))
                   for user in self.work.users())


def mpop_rc(job, extra=""):
    work = job.work
    lines = ["defaults", "host localhost", "port %d" % job.port, "auth user",
             "password secret", "received_header off",
             "keep " + ("on" if work.keep else "off"),
             "tls on\ntls_starttls off\ntls_trust_file " + job.cert
             if work.tls else "tls off", extra]
    for user in work.users():
        target = {"maildir": "maildir " + job.place(user),
                  "mbox": "mbox " + job.mbox(),
                  "mda": "mda cat >/dev/null"}[work.kind]
        lines += ["account " + user, "user " + user, "delivery " + target]
    return job.write("mpoprc", "\n".join(lines) + "\n")


def installed(name):
    if shutil.which(name) is None:
        raise Unable
    return name


def poplar(job):
    return [job.poplar, "-C", mpop_rc(job), "-a", "-j", "50"]


def mpop(job):
    if job.work.kind == "mbox":
        open(job.mbox(), "wb").close()
    return [installed("mpop"), "-q", "-C", mpop_rc(job), "-a"]


def fdm(job):
    work = job.work
    if work.tls:
        raise Unable         # it knows the system's authorities only
    lines = ["set maximum-size 1G", 'set lock-file "%s/lock"' % job.home]
    for user in work.users():
        action = {"maildir": 'maildir "%s"' % job.place(user),
                  "mbox": 'mbox "%s"' % job.mbox(),
                  "mda": 'pipe "cat >/dev/null"'}[work.kind]
        lines += [
            'account "%s" pop3 server "127.0.0.1" port %d user "%s" '
            'pass "secret" %s' % (
                user, job.port, user, 'new-only cache "%s/%s" keep' % (
                    job.home, user) if work.keep else ""),
            'action "%s" %s' % (user, action),
            'match account "%s" action "%s"' % (user, user)]
    return [installed("fdm"), "-q", "-f",
            job.write("fdm", "\n".join(lines) + "\n"), "fetch"]


def fetchmail(job):
    """It has no delivery of its own."""
    work = job.work
    if work.kind != "mda" and not (work.known or work.messages == 0):
        raise Unable
    job.good = (0, 1)        # there was no mail
    lines = ["set no syslog", 'set idfile "%s/ids"' % job.home]
    tls = 'ssl sslcertck sslcertfile "%s"' % job.cert
    lines += ["poll localhost proto pop3 port %d uidl user %s password secret "
              '%s no rewrite %s mda "cat >/dev/null"' % (
                  job.port, user, "keep" if work.keep else "nokeep",
                  tls if work.tls else "sslproto ''")
              for user in work.users()]
    return [installed("fetchmail"), "-s", "-f",
            job.write("fetchmailrc", "\n".join(lines) + "\n"), "--pidfile",
            job.home + "/pid"]


def getmail(job):
    work, argv = job.work, [installed("getmail"), "--getmaildir", job.home]
    for user in work.users():
        destination = {
            "maildir": "type = Maildir\npath = %s/" % job.place(user),
            "mbox": "type = Mboxrd\npath = " + job.mbox(),
            "mda": "type = MDA_external\npath = /bin/sh\n"
                   'arguments = ("-c", "cat >/dev/null")'}[work.kind]
        job.write("rc." + user, "\n".join([
            "[retriever]",
            "type = SimplePOP3%sRetriever" % ("SSL" if work.tls else ""),
            "server = localhost", "port = %d" % job.port, "username = " + user,
            "password = secret",
            "ca_certs = " + job.cert if work.tls else "", "[destination]",
            destination, "[options]", "read_all = false", "verbose = 0",
            "delivered_to = false", "received = false",
            "delete = " + ("false" if work.keep else "true"), ""]))
        argv += ["--rcfile", "rc." + user]
    if work.kind == "mbox":
        open(job.mbox(), "wb").close()
    return argv


def floor(job):
    """Of a poll: a look at each id in a file of them.  Of a delivery to a
    command: only to receive it."""
    work, argv = job.work, [job.floor]
    if work.tls:
        argv.append("-t")
    if work.accounts > 1:
        argv += ["-a", str(work.accounts)]
    if work.known:
        argv += ["-u", job.write("known", "".join(
            uid + "\n" for uid in uids(job.port)))]
    elif work.messages > 0 and work.kind != "mda":
        argv += (["-m", job.home + "/box"] if work.kind == "maildir"
                 else ["-b", job.mbox()])
    if not work.keep:
        argv.append("-x")
    return argv + [str(job.port)]


def receive(job):
    """... and it is dropped: what the network alone costs."""
    if job.work.known:
        raise Unable
    return [arg for arg in floor(job) if arg not in (
        "-m", "-b", job.home + "/box", job.mbox())]


CLIENTS = (poplar, mpop, fdm, fetchmail, getmail, receive, floor)


# -- a run ---------------------------------------------------------------

def uids(port):
    """As the server lists them."""
    server = poplib.POP3("127.0.0.1", port)
    server.user("user1")
    server.pass_("secret")
    listed = [line.split()[1].decode() for line in server.uidl()[1]]
    server.quit()
    return listed


class Server:
    def __init__(self, work, dir_):
        path = dir_ + "/port"
        argv = [POPD, "mailbox", "--until-eof", "--lifetime", "3600",
                "--port-file", path, "--synthetic",
                "%d:%d" % (work.messages, work.size)]
        if work.latency:
            argv += ["--latency", str(work.latency)]
        if work.tls:
            argv += ["--tls", "implicit", "--tls-cert", dir_ + "/server.pem",
                     "--tls-key", dir_ + "/server.key"]
        if os.path.exists(path):
            os.unlink(path)
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE)
        until = time.monotonic() + 10
        while not os.path.exists(path):
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit("popd does not start")
            time.sleep(0.002)
        with open(path, encoding="ascii") as file:
            self.port = int(file.read().split()[0])

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Bench:
    def __init__(self, options):
        self.options = options
        self.dir = tempfile.mkdtemp(prefix="poplar-bench.",
                                    dir=options.directory)
        os.chmod(self.dir, 0o755)
        subprocess.run([POPD, "cert", self.dir], check=True)
        os.chmod(self.dir + "/ca.pem", 0o644)
        self.user = None
        if os.getuid() == 0:     # some clients refuse root
            self.user = pwd.getpwnam("nobody")
        for program in (POPLAR, FLOOR, COST):
            shutil.copy(program, self.dir)

    def program(self, path):
        return "%s/%s" % (self.dir, os.path.basename(path))

    def execute(self, job, argv):
        """(wall, cpu, KiB) of it and its children; None: too slow."""
        ids = {}
        if self.user is not None:
            ids = {"user": self.user.pw_uid, "group": self.user.pw_gid,
                   "extra_groups": []}
            for path, _, names in os.walk(job.home):
                for name in [path] + [path + "/" + name for name in names]:
                    os.chown(name, self.user.pw_uid, self.user.pw_gid)
        os.sync()
        done = subprocess.run(
            [self.program(COST), "%d" % self.options.limit] + argv,
            cwd=job.home, env={"HOME": job.home, "PATH": os.environ["PATH"],
                               "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True, check=True, text=True, errors="replace",
            **ids)
        status, wall, cpu, peak = done.stdout.split()
        if status == "124":
            return None
        if int(status) not in job.good:
            raise RuntimeError("%s: %s %s" % (
                argv[0], status, done.stderr[-300:]))
        return float(wall), float(cpu), int(peak)

    def once(self, work, client):
        server = Server(work, self.dir)
        base = tempfile.mkdtemp(dir=MEMORY if work.memory else self.dir,
                                prefix="home.")
        os.chmod(base, 0o755)
        try:
            job = Job(work, base, server.port, self.dir + "/ca.pem")
            job.poplar = self.program(POPLAR)
            job.floor = self.program(FLOOR)
            argv = client(job)
            if work.known and client is not floor:
                self.learn(job, client, argv)
            result = self.execute(job, argv)
            if result is not None:
                self.check(job, client)
            return result
        finally:
            server.stop()
            # Inodes that were freed just now make new ones slow on ext4:
            # on the disk all goes at the end.
            if work.memory:
                shutil.rmtree(base)

    def learn(self, job, client, argv):
        """The client's list of what it knows, in mpop's form or its own."""
        known = uids(job.port)
        if client in (poplar, mpop):
            job.write(".mpop_uidls/user1_at_localhost", " %d localhost user1\n"
                      "%s\n" % (len(known), "\n".join(known)))
        elif client is fdm:
            job.write("user1", "".join(
                "%d %s\n" % (len(uid), uid) for uid in known))
        elif client is fetchmail:
            job.write("ids", "".join(
                "user1@localhost %s\n" % uid for uid in known))
        else:
            job.write("oldmail-localhost-%d-user1" % job.port, "".join(
                "%s\0%d\n" % (uid, 1700000000) for uid in known))
        if client is poplar:     # the import is not what a poll is
            self.execute(job, argv)

    def check(self, job, client):
        """A fast client that delivers nothing is none."""
        work = job.work
        if client is receive or work.kind == "mda" or work.messages == 0:
            return
        wanted = 0 if work.known else work.messages * work.accounts
        got = job.delivered()
        if got != wanted:
            raise RuntimeError("%s delivered %d of %d" % (
                client.__name__, got, wanted))

    def row(self, name, work):
        clients = [c for c in CLIENTS if self.options.clients is None
                   or c.__name__ in self.options.clients]
        results = {client: [] for client in clients}
        for _ in range(self.options.rounds * work.rounds):
            for client in clients:
                done = results[client]
                try:
                    if None not in done and (
                            sum(r[0] for r in done) < self.options.limit):
                        done.append(self.once(work, client))
                except Unable:
                    pass
        show(name, work, {c: r for c, r in results.items() if r})

    def close(self):
        shutil.rmtree(self.dir)


def show(name, work, results):
    """Medians, and how they compare to the floor's."""
    medians = {}
    for client, done in results.items():
        if None not in done:
            medians[client] = [statistics.median(column)
                               for column in zip(*done)]
    base = medians.get(floor)
    print("%s: %s" % (name, work.what))
    for client in results:
        if client not in medians:
            print("  %-10s too slow" % client.__name__)
            continue
        wall, cpu, peak = medians[client]
        print("  %-10s %8.3f s %7s   cpu %8.3f s %7s   peak %7.1f MiB" % (
            client.__name__, wall, ratio(wall, base, 0), cpu,
            ratio(cpu, base, 1), peak / 1024))
    sys.stdout.flush()


def ratio(value, base, column):
    return "" if base is None or base[column] < 0.001 else (
        "%.2f x" % (value / base[column]))


def main():
    parser = argparse.ArgumentParser(
        description="poplar beside its peers and the least that is possible")
    parser.add_argument("works", nargs="*", metavar="WORK",
                        help="all but those of the curves, if none is named")
    parser.add_argument("--list", action="store_true", help="all works")
    parser.add_argument("--clients", type=lambda s: s.split(","),
                        metavar="NAME,...", help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=30, metavar="SECONDS",
                        help="for a run, and for all of a client and work")
    parser.add_argument("--scale", type=int, default=1, metavar="N",
                        help="an Nth of the work")
    parser.add_argument("--directory", default="/var/tmp", metavar="DIR",
                        help="on the disk to be measured")
    options = parser.parse_args()
    known = {**works(), **curves()}
    if options.list:
        for name, work in known.items():
            print("%-16s %s" % (name, work.what))
        return 0
    bench = Bench(options)
    try:
        for name in options.works or works():
            if name not in known:
                sys.exit("no work %s, see --list" % name)
            bench.row(name, known[name].scaled(options.scale))
    finally:
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
