# SPDX-License-Identifier: ISC
"""Cut the power at each step of a run, and run poplar on what is left.

usage: power.py [--cases N] [--jobs N] [--only TEXT]

One run is recorded with strace and played through a model of a disk:

- A file is what its inode holds.  What was written since its last fsync or
  fdatasync may be lost, wholly or from some byte on, or have become zeros; so
  may a truncation.  fsync of a file makes its data and its inode durable, and
  no name of it.
- A name (of a new file, a link, a directory, a rename, an unlink) is an entry
  of a directory.  It is durable when that directory was flushed by fsync after
  it; until then it may have survived or not, each one for itself, but what an
  earlier operation did to the same name is older.  A rename is one operation
  and belongs to the directory it leads to: either the old name is left or the
  new one, never both, never none.
- A name that survived without its file's data leads to an empty file.  A file
  without a name is gone.  syncfs makes all of it durable.
- A lock (flock, fcntl) does not survive, a lock file does; the machine has
  another boot id afterwards and its processes are gone.
- What is stored into a mapping is not seen here: the file that names the
  attempt keeps what was written to it, as after a loss.
- The server deletes at QUIT: until QUIT is sent nothing is deleted, once it
  has answered everything is, and in between it is one or the other.

After each step of the run that changes the disk or the server, these states
are made real, each once: nothing that is not durable survived; everything did;
each single name or file alone did; each alone did not; and some mixtures.  In
each of them the promise must hold, and poplar is run once more.

The last rows begin with a run that is killed, whose names and data are not
durable in the run that is recorded behind it.
"""

import os
import re
import subprocess
import sys

from kill import options
from lab import Config, Lab, Tap, Violation, in_threads, read, remove, write

TRACED = ("openat,open,creat,write,writev,pwrite64,ftruncate,fsync,fdatasync,"
          "syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,"
          "mkdirat,lseek,close,sendto,recvfrom,clone,clone3")
MAPPED = ".trying-"
MIXTURES = 6
SINGLES = 12


# -- the model -----------------------------------------------------------

class Inode:
    """A file or a directory, as it is and as it is on the disk."""

    def __init__(self, is_dir=False, data=b""):
        self.is_dir = is_dir
        self.entries = {}      # of a directory: as it is
        self.kept = {}         # and on the disk
        self.base = data       # of a file: on the disk
        self.changes = []      # (offset, bytes) or (length, None) since then

    def data(self, changes=None):
        data = bytearray(self.base)
        for at, piece in self.changes if changes is None else changes:
            if piece is None:
                del data[at:]
                data.extend(bytes(at - len(data)))
            else:
                data.extend(bytes(max(at - len(data), 0)))
                data[at:at + len(piece)] = piece
        return bytes(data)

    def flush(self):
        self.base = self.data()
        self.changes = []


class Change:
    """Names that are not durable: [(directory, name, inode or None)]."""

    def __init__(self, home, entries):
        self.home, self.entries = home, entries

    def apply(self, entries_of):
        for directory, name, inode in self.entries:
            if inode is None:
                entries_of(directory).pop(name, None)
            else:
                entries_of(directory)[name] = inode


class Disk:
    def __init__(self, root):
        self.root_path = root
        self.root = Inode(True)
        self.changes = []

    def load(self):
        """What is there now is durable."""
        self.root = self.load_from(self.root_path)
        self.changes = []

    def load_from(self, path):
        if not os.path.isdir(path):
            return Inode(data=read(path))
        inode = Inode(True)
        for name in os.listdir(path):
            inode.entries[name] = self.load_from(os.path.join(path, name))
        inode.kept = dict(inode.entries)
        return inode

    def find(self, path):
        """The inode, None if there is none or it is not below the root."""
        if path == self.root_path:
            return self.root
        if not path.startswith(self.root_path + "/"):
            return None
        inode = self.root
        for name in path[len(self.root_path) + 1:].split("/"):
            inode = inode.entries.get(name) if inode and inode.is_dir else None
        return inode

    def change(self, pairs):
        """pairs: (path, inode or None); the last one names the directory
        whose flush makes it durable."""
        entries = []
        for path, inode in pairs:
            directory = self.find(os.path.dirname(path))
            entries.append((directory, os.path.basename(path), inode))
        change = Change(entries[-1][0], entries)
        change.apply(lambda directory: directory.entries)
        self.changes.append(change)

    def flush(self, inode):
        if not inode.is_dir:
            inode.flush()
            return
        for change in list(self.changes):
            if change.home is inode:
                self.keep(change)

    def keep(self, change):
        """With it goes what was done to the same names before: to create a
        file here is older than to rename it away."""
        names = {(id(d), name) for d, name, _ in change.entries}
        older = self.changes[:self.changes.index(change)]
        change.apply(lambda directory: directory.kept)
        self.changes = [c for c in self.changes if c is not change and not (
            c in older and all((id(d), n) in names for d, n, _ in c.entries))]

    def flush_all(self):
        for change in self.changes:
            change.apply(lambda directory: directory.kept)
        self.changes = []
        for inode in self.files(self.root):
            inode.flush()

    def files(self, directory, seen=None):
        seen = {} if seen is None else seen
        for inode in list(directory.entries.values()) + list(
                directory.kept.values()):
            if id(inode) not in seen:
                seen[id(inode)] = inode
                if inode.is_dir:
                    self.files(inode, seen)
        return [inode for inode in seen.values() if not inode.is_dir]

    def dirty(self):
        found = {}
        for inode in self.files(self.root):
            if inode.changes:
                found[id(inode)] = inode
        for change in self.changes:
            for _, _, inode in change.entries:
                if inode is not None and inode.changes:
                    found[id(inode)] = inode
        return list(found.values())

    def tree(self, survived, data_of):
        """{path: bytes, None for a directory} of what is left."""
        entries = {}

        def entries_of(directory):
            if id(directory) not in entries:
                entries[id(directory)] = dict(directory.kept)
            return entries[id(directory)]

        for change in self.changes:
            if change in survived:
                change.apply(entries_of)
        tree = {}

        def walk(directory, path):
            for name, inode in entries_of(directory).items():
                where = path + "/" + name
                tree[where] = None if inode.is_dir else data_of(inode)
                if inode.is_dir:
                    walk(inode, where)

        walk(self.root, "")
        return tree


# -- the recording -------------------------------------------------------

LINE = re.compile(r"^(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<([^>]*)>)?")
FD = re.compile(r"^(-?\d+|AT_FDCWD)(?:<([^>]*)>)?")


def text(field):
    """What strace shows as hexadecimal escapes."""
    return bytes.fromhex(field.strip('"').replace("\\x", ""))


def path_of(field):
    """Of a descriptor with its path."""
    found = FD.match(field)
    path = found.group(2) or ""
    return text(path).decode("utf-8", "surrogateescape") if (
        path.startswith("\\x")) else path


def joined(trace):
    """Whole lines: what was interrupted by another process is joined."""
    begun = {}
    with open(trace, encoding="latin-1") as file:
        for line in file:
            pid = line.split(None, 1)[0]
            if line.rstrip().endswith("<unfinished ...>"):
                begun[pid] = line[:line.rindex("<unfinished")]
                continue
            resumed = re.match(r"^\d+\s+<\.\.\. \w+ resumed>", line)
            if resumed:
                line = begun.pop(pid) + line[resumed.end():]
            yield line


def lines_of(trace):
    """The same, what a thread did being done by its process."""
    lines, process = list(joined(trace)), {}
    for line in lines:
        begun = re.match(
            r"(\d+)\s+clone3?\(.*\bCLONE_THREAD\b.* = (\d+)", line)
        if begun:
            process[begun.group(2)] = begun.group(1)
    for line in lines:
        pid, rest = line.split(None, 1)
        yield process.get(pid, pid) + " " + rest


class Open:
    """An open file: shared by nobody here."""

    def __init__(self, inode, append):
        self.inode, self.append, self.at = inode, append, 0


class Player:
    """Plays a trace into a Disk, and keeps account of the server."""

    def __init__(self, disk, names):
        self.disk, self.names = disk, names
        self.open = {}
        self.asked = set()     # DELE was sent
        self.quit = "no"       # "sent", "done"
        self.moved = False     # the line changed the disk or the server

    def play(self, line):
        """True if something changed."""
        found = LINE.match(line)
        self.moved = False
        if found is None or found.group(4) in ("?", "-1") or (
                int(found.group(4)) < 0):
            return False
        pid, name, args, value, _ = found.groups()
        handler = getattr(self, "do_" + name, None)
        if handler is not None:
            fields = [field.strip() for field in args.split(", ")]
            handler(pid, fields, int(value))
        return self.moved

    def full_path(self, directory, name):
        name = text(name).decode("utf-8", "surrogateescape")
        return os.path.normpath(
            name if name.startswith("/") else
            os.path.join(path_of(directory), name))

    def file(self, pid, field):
        return self.open.get((pid, FD.match(field).group(1)))

    def do_openat(self, pid, args, fd):
        path = self.full_path(args[0], args[1])
        flags = args[2].split("|")
        inode = self.disk.find(path)
        self.open.pop((pid, str(fd)), None)
        if "O_TMPFILE" in flags:
            inode = Inode()
        elif inode is None and "O_CREAT" in flags and (
                self.disk.find(os.path.dirname(path)) is not None):
            inode = Inode()
            self.disk.change([(path, inode)])
            self.moved = True
        if inode is None:
            return
        if "O_TRUNC" in flags and inode.data():
            inode.changes.append((0, None))
            self.moved = True
        self.open[pid, str(fd)] = Open(inode, "O_APPEND" in flags)

    def do_close(self, pid, args, _):
        self.open.pop((pid, FD.match(args[0]).group(1)), None)

    def do_lseek(self, pid, args, value):
        file = self.file(pid, args[0])
        if file is not None:
            file.at = value

    def put(self, file, data):
        if file is None or not data:
            return
        at = len(file.inode.data()) if file.append else file.at
        file.inode.changes.append((at, data))
        file.at = at + len(data)
        self.moved = True

    def do_write(self, pid, args, n):
        self.put(self.file(pid, args[0]), text(args[1])[:n])

    def do_writev(self, pid, args, n):
        pieces = re.findall(r'iov_base="((?:\\x..)*)"', ", ".join(args))
        self.put(self.file(pid, args[0]),
                 b"".join(text(piece) for piece in pieces)[:n])

    def do_pwrite64(self, pid, args, n):
        file = self.file(pid, args[0])
        if file is not None:
            at, file.at = file.at, int(args[3])
            self.put(file, text(args[1])[:n])
            file.at = at

    def do_ftruncate(self, pid, args, _):
        file = self.file(pid, args[0])
        if file is not None:
            file.inode.changes.append((int(args[1]), None))
            self.moved = True

    def do_fsync(self, pid, args, _):
        file = self.file(pid, args[0])
        if file is not None:
            self.disk.flush(file.inode)
            self.moved = True

    do_fdatasync = do_fsync

    def do_syncfs(self, *_):
        self.disk.flush_all()
        self.moved = True

    def do_mkdirat(self, _, args, __):
        path = self.full_path(args[0], args[1])
        if self.disk.find(os.path.dirname(path)) is not None:
            self.disk.change([(path, Inode(True))])
            self.moved = True

    def do_mkdir(self, pid, args, value):
        self.do_mkdirat(pid, ["AT_FDCWD</>"] + args, value)

    def do_renameat(self, _, args, __):
        old = self.full_path(args[0], args[1])
        new = self.full_path(args[2], args[3])
        inode = self.disk.find(old)
        if inode is not None:
            self.disk.change([(old, None), (new, inode)])
            self.moved = True

    do_renameat2 = do_renameat

    def do_rename(self, pid, args, value):
        self.do_renameat(
            pid, ["AT_FDCWD</>", args[0], "AT_FDCWD</>", args[1]], value)

    def do_linkat(self, pid, args, _):
        old = text(args[1]).decode()
        unnamed = re.fullmatch(r"/proc/self/fd/(\d+)", old)
        if unnamed:
            inode = self.open[pid, unnamed.group(1)].inode
        else:
            inode = self.disk.find(self.full_path(args[0], args[1]))
        if inode is not None:
            self.disk.change([(self.full_path(args[2], args[3]), inode)])
            self.moved = True

    def do_link(self, pid, args, value):
        self.do_linkat(
            pid, ["AT_FDCWD</>", args[0], "AT_FDCWD</>", args[1]], value)

    def do_unlinkat(self, _, args, __):
        path = self.full_path(args[0], args[1])
        if self.disk.find(path) is not None:
            self.disk.change([(path, None)])
            self.moved = True

    def do_unlink(self, pid, args, value):
        self.do_unlinkat(pid, ["AT_FDCWD</>"] + args, value)

    # the server

    def do_sendto(self, _, args, n):
        sent = text(args[1])[:n]
        for number in re.findall(rb"^DELE (\d+)\r$", sent, re.M):
            self.asked.add(self.names[int(number) - 1])
        if re.search(rb"^QUIT\r$", sent, re.M):
            self.quit = "sent"
            self.moved = True

    def do_recvfrom(self, _, args, n):
        if self.quit == "sent" and n > 0 and text(args[1])[:3] == b"+OK":
            self.quit = "done"
            self.moved = True

    def boxes(self):
        """What may be left on the server."""
        left = frozenset(self.names) - self.asked
        if self.quit == "no":
            return [frozenset(self.names)]
        return [left] if self.quit == "done" else [
            frozenset(self.names), left]


# -- the states ----------------------------------------------------------

class Dice:
    """The same numbers in each run."""

    def __init__(self):
        self.state = 1

    def roll(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407
                      ) % (1 << 64)
        return (self.state >> 33) % n


def lost(inode):
    return inode.base


def survived(inode):
    return inode.data()


def torn(inode, dice):
    """Some of the changes, and of the next one a part or zeros."""
    n = dice.roll(len(inode.changes))
    at, piece = inode.changes[n]
    if piece is None:
        return inode.data(inode.changes[:n])
    part = piece[:dice.roll(len(piece) + 1)]
    if dice.roll(3) == 0:
        part += bytes(len(piece) - len(part))
    return inode.data(inode.changes[:n] + [(at, part)])


def some(items, n, dice):
    """At most so many of them."""
    items = list(items)
    while len(items) > n:
        items.pop(dice.roll(len(items)))
    return items


def states(disk, dice):
    """Trees that a power cut may leave now."""
    changes, dirty = list(disk.changes), disk.dirty()
    yield disk.tree([], lost)
    yield disk.tree(changes, survived)
    yield disk.tree(changes, lost)
    for change in some(changes, SINGLES, dice):
        yield disk.tree([change], survived)
        yield disk.tree([c for c in changes if c is not change], survived)
    for one in some(dirty, SINGLES, dice):
        yield disk.tree(
            changes, lambda i, o=one: survived(i) if i is o else lost(i))
        yield disk.tree(
            changes, lambda i, o=one: lost(i) if i is o else survived(i))
        yield disk.tree(
            changes, lambda i, o=one: torn(i, dice) if i is o and i.changes
            else survived(i))
    for _ in range(MIXTURES if changes or dirty else 0):
        ways = {}

        def mixed(inode):
            if not inode.changes:
                return inode.base
            if id(inode) not in ways:
                way = dice.roll(3)
                ways[id(inode)] = (lost(inode) if way == 0 else
                                   survived(inode) if way == 1 else
                                   torn(inode, dice))
            return ways[id(inode)]

        yield disk.tree([c for c in changes if dice.roll(2)], mixed)


# -- one row -------------------------------------------------------------

class Recording:
    """A run, or a killed one and the next, with all states in between."""

    def __init__(self, config, name, kill=None, half=False):
        self.lab = Lab(config, name)
        self.kill = kill
        self.half = half
        self.disk = Disk(self.lab.home)
        self.stash = os.path.join(self.lab.dir, "stash")

    def trace(self, inject=()):
        path = os.path.join(self.lab.dir, "trace")
        subprocess.run(
            ["strace", "-f", "-y", "-xx", "-s", "100000000", "-o", path,
             "-e", "trace=" + TRACED] + list(inject) +
            [os.environ.get("POPLAR", "./poplar"), "-C", self.lab.rc],
            env=self.lab.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        self.lab.wait_for_server()
        return path

    def prepare(self):
        """The home as it is before, and what it holds is durable."""
        lab = self.lab
        lab.fill()
        if self.half:
            lab.fill_box(sorted(lab.config.box)[:2])
            lab.run_plain()
            left = sorted(lab.config.box)[0 if lab.config.keep == "on" else 2:]
            lab.fill_box(left)
        self.disk.load()
        self.names = sorted(os.listdir(lab.box))

    def start(self):
        """Both runs; the trace of the second one."""
        if self.kill is not None:
            player = Player(self.disk, self.names)
            for line in lines_of(self.trace(
                    ["-e", "inject=%s:signal=KILL:when=%d" % self.kill])):
                player.play(line)
            self.compare("the killed run")
            if player.quit != "no":
                self.names = sorted(os.listdir(self.lab.box))
        return list(lines_of(self.trace()))

    def compare(self, what):
        """The model must know what really happened."""
        there = {}
        for path, folders, names in os.walk(self.lab.home):
            short = path[len(self.lab.home):]
            there.update({short + "/" + name: None for name in folders})
            there.update({short + "/" + name: read(os.path.join(path, name))
                          for name in names})
        tree = self.disk.tree(self.disk.changes, survived)
        for either in (tree, there):
            either.update({path: b"" for path in either if MAPPED in path})
        if tree != there:
            raise RuntimeError("the model of %s is wrong: %s" % (
                what, sorted(set(tree) ^ set(there))))

    def keep_inode(self):
        """An mbox is known by its inode: write into the same one."""
        if self.lab.config.kind == "mbox":
            remove(self.stash)
            os.link(self.lab.mailbox(), self.stash)

    def materialise(self, tree, box):
        lab = self.lab
        remove(lab.home)
        os.mkdir(lab.home)
        remove(lab.tmp)
        os.mkdir(lab.tmp)
        for path in sorted(tree):
            data, real = tree[path], lab.home + path
            if data is None:
                os.mkdir(real)
                continue
            if real == lab.mailbox() and os.path.exists(self.stash):
                os.link(self.stash, real)
            if path.endswith(".lock"):
                data = after_boot(data)
            write(real, data)
        lab.fill_box(box)


def after_boot(data):
    """A lock file as the next boot sees it."""
    return re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                  b"00000000-0000-0000-0000-000000000000", data)


def check_all(recording, limit):
    """(cases, failures)"""
    recording.prepare()
    lines = recording.start()
    recording.keep_inode()
    player = Player(recording.disk, recording.names)
    dice, done, failures, cases = Dice(), set(), [], 0
    plan = []
    for line in [""] + lines:
        if line and not player.play(line):
            continue
        step = line[:60]
        for tree in list(states(recording.disk, dice)):
            for box in player.boxes():
                key = (hash(tuple(sorted(tree.items(), key=lambda i: i[0]))),
                       box)
                if key in done:
                    continue
                done.add(key)
                plan.append((step, tree, box))
    if limit:
        plan = plan[::max(1, len(plan) // limit)]
    for number, (step, tree, box) in enumerate(plan):
        cases += 1
        try:
            recording.materialise(tree, box)
            recording.lab.safe()
            recording.lab.recover(again=number % 5 == 0)
        except Violation as violation:
            failures.append("after %s\n    left %s, %d on the server\n    %s" % (
                step, {path: data if data is None else len(data)
                       for path, data in tree.items()}, len(box), violation))
    return cases, failures


def row(tap, config, kill, half, limit, index):
    name = "power cut: %s%s%s" % (
        config, ", behind a run killed at %s %d" % kill if kill else "",
        ", with a past" if half else "")
    recording = Recording(config, "power%d" % index, kill, half)
    try:
        cases, failures = check_all(recording, limit)
    finally:
        recording.lab.close()
    tap.result(name, cases, failures)


def table():
    rows = []
    for kind in ("maildir", "mbox"):
        for keep in ("off", "on"):
            rows.append((Config(kind, keep), None, False))
            rows.append((Config(kind, keep), None, True))
        rows.append((Config(kind, "off", "off"), None, False))
    rows.append((Config("maildir", messages="dozen"), None, False))
    rows.append((Config("mbox", "off", old=True), None, False))
    rows.append((Config("mbox", "on", old=True), None, False))
    for keep in ("off", "on"):
        for kill in (("mkdir", 1), ("mkdir", 3), ("mkdirat", 2),
                     ("mkdirat", 3), ("fsync", 4), ("fsync", 6),
                     ("fdatasync", 6), ("renameat", 1), ("renameat", 3),
                     ("fsync", 9)):
            rows.append((Config("maildir", keep), kill, False))
        for kill in (("linkat", 1), ("fdatasync", 2), ("writev", 1),
                     ("fdatasync", 3), ("fdatasync", 4), ("unlink", 1)):
            rows.append((Config("mbox", keep, old=True), kill, False))
        rows.append((Config("mbox", keep), ("fsync", 4), False))
        rows.append((Config("maildir", keep), ("renameat", 2), True))
        rows.append((Config("mbox", keep), ("writev", 1), True))
    return rows


def main():
    limit, jobs, only = options(sys.argv)
    tap, tasks = Tap(), []
    for index, (config, kill, half) in enumerate(table()):
        if only in "%s %s" % (config, kill):
            tasks.append(lambda c=config, k=kill, h=half, i=index: row(
                tap, c, k, h, limit, i))
    in_threads(tasks, jobs)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
