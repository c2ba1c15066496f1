# SPDX-License-Identifier: ISC
"""What must hold after each run (PRODUCT, sections 2, 4 and 8), judged by who
is who in truth.  What poplar admits that it cannot do is a function here,
with the sentence that admits it."""

import os
from collections import Counter, defaultdict

DAY = 86400


class Violation(Exception):
    """The promise was broken."""


def as_delivered(wire):
    return wire.replace(b"\r\n", b"\n")


class Known:
    """What the state may hold of a mail: as it was in the sessions since the
    last good one that had it."""

    def __init__(self):
        self.uids, self.sizes = set(), set()
        self.text = None
        self.deleted = False  # by poplar, once, though the server forgot it
        self.missing = False  # in a good session since

    def see(self, one, surely):
        if surely:
            self.uids, self.sizes = set(), set()
            self.missing = False
        self.text = one.mail.text
        self.uids.add(one.uid)
        self.sizes.add(one.size)
        self.deleted = self.deleted or one.marked


class Promise:
    def __init__(self, say):
        self.say = say
        self.files = {}              # in the Maildir: name, text
        self.given = {}              # as delivered: Listed
        self.wires = defaultdict(set)  # text: (unique-id, octets) of files
        self.delivered = Counter()   # text: files in the Maildir
        self.elsewhere = Counter()   # text: by mpop
        self.deleted = Counter()     # text: by poplar
        self.extra = Counter()       # text: copies that are admitted
        self.first = {}              # text: time of the first delivery
        self.ever = defaultdict(set)   # text: serials of all mails listed
        self.known = defaultdict(Known)  # serial
        self.holders = defaultdict(list)  # unique-id: (mail, size)
        self.let_off = set()         # serials that pass for another mail
        self.excused = set()         # serials that may come twice
        self.mpop_uids = {}          # unique-id: mail
        self.without_uidl = False    # so far
        self.renumbered = False      # so far
        self.state_is_whole = True   # since the last good session
        self.was_damaged = False     # ever
        self.month = False
        self.not_rebuilt = set()     # serials
        self.last_good = self.newest = 0

    # -- told by the world ---------------------------------------------------

    def imported(self, mails):
        for mail in mails:
            self.elsewhere[mail.text] += 1
            self.mpop_uids[mail.uid] = mail
            self.known[mail.serial].uids = {mail.uid}
            self.known[mail.serial].text = mail.text
            self.known[mail.serial].sizes = {None}

    def damaged(self):
        self.state_is_whole = False
        self.was_damaged = True
        self.newest = self.last_good = 0

    def month_passed(self, did):
        self.month = self.month or did

    def settled(self):
        """After the second of two undisturbed runs: nothing is new any more,
        but for what passed for another message so far."""
        for one in self.session.listed:
            text = one.mail.text
            if (self.session.fresh[text] and not self.mpop_uids and
                    not self.ever[text] & (self.let_off | self.excused)):
                raise Violation("never settled: %s comes in the last run" %
                                one.mail)

    def names(self, texts):
        return " ".join(sorted(
            "/".join(str(serial) for serial in sorted(self.ever[text]))
            for text in texts))

    # -- a session -----------------------------------------------------------

    def before(self, session, rc, now):
        session.rc, session.now = dict(rc), now
        for mail in self.mpop_uids.values():
            self.first.setdefault(mail.text, now)
        for one in session.listed:
            self.ever[one.mail.text].add(one.mail.serial)
        if not session.traits.uidl:
            self.without_uidl = True
        session.most_unknown, session.may_be_most = self.count_unknown(session)
        if session.may_be_most:
            self.renumbered = True

    def count_unknown(self, session):
        """Has most of what was known become unknown?  Is it sure, may it be?
        Two mails that are equal or pass for each other may be one record or
        two."""
        listed = Counter(one.uid for one in session.listed)
        lost, kept, unsure = [], [], 0
        for serial, known in self.known.items():
            uids = frozenset(known.uids)
            if any(listed[uid] for uid in uids):
                kept.append(uids)
                unsure += any(one.uid in uids and one.mail.serial != serial
                              for one in session.listed)
            elif not (known.deleted or known.missing or None in uids):
                lost.append((uids, known.text))
        surely = {uids for uids, text in lost if len(self.ever[text]) < 2}
        return (len(surely) > len(kept) and self.state_is_whole,
                len(lost) + unsure >= len(set(kept)) - unsure)

    def after(self, session, maildir):
        self.session = session
        session.undisturbed = session.trouble[0] == "none"
        session.good = session.code == 0
        session.fresh = self.look(session, maildir)
        for one in session.listed:
            if one.deleted:
                self.deleted[one.mail.text] += 1
        self.check_exit(session)
        self.excuse_later(session)
        self.check_deleted(session)
        self.check_twice(session)
        if session.good:
            self.check_lost(session, session.rc["max_messages"] != "off")
            self.check_deletions_done(session)
        self.learn(session)

    def look(self, session, maildir):
        """What is new in the Maildir, and is it what was sent?"""
        fresh, seen, session.files = Counter(), set(), []
        for one in session.listed:
            if one.given:
                self.given[as_delivered(one.wire)] = one
        for folder in ("new", "cur"):
            path = os.path.join(maildir, folder)
            for name in os.listdir(path) if os.path.isdir(path) else []:
                base = name.partition(":")[0]
                seen.add(base)
                if base in self.files:
                    continue
                with open(os.path.join(path, name), "rb") as file:
                    data = file.read()
                if data not in self.given:
                    raise Violation("damaged: %s holds %r" % (name, data))
                one = self.given[data]
                self.files[base] = one.mail.text
                fresh[one.mail.text] += 1
                # Without either it has no name when its file gets one.
                name = "" if one.uid is None and session.hides(
                    one) else one.uid
                session.files.append((one.mail.text, name, len(one.wire)))
        if len(seen) != len(self.files):
            raise Violation("gone from the Maildir: %s" % (
                set(self.files) - seen))
        for text in fresh:
            self.delivered[text] += fresh[text]
            self.first.setdefault(text, session.now)
        return fresh

    def learn(self, session):
        """What the next runs may know."""
        if not session.was_asked:
            return
        stand_ins = set()
        for one in session.listed:
            mail = one.mail
            passes = self.passes_for_older(one, session)
            if passes or mail.serial in self.let_off:
                stand_ins.add(one.uid)
            if (mail.serial in self.let_off or
                    self.delivered[mail.text] + self.elsewhere[mail.text]):
                self.known[mail.serial].see(one, session.good and not passes)
        for one in session.listed:
            self.holders[one.uid].append((one.mail, one.size))
        for text, uid, size in session.files:
            self.wires[text].add((uid, size))
        self.newest = max(self.newest, session.now)
        if "QUIT" in session.commands:
            self.last_good = session.now  # in the eyes of poplar
        if not session.good:
            return
        listed = {one.mail.serial for one in session.listed}
        for serial, known in self.known.items():
            if serial in listed:
                continue
            known.missing = not known.uids & stand_ins
            if not self.state_is_whole:
                self.not_rebuilt.add(serial)
        for one in session.listed:
            unseen = session.hides(one) and not one.given
            if self.is_not_in_maildir(one, session) or (
                    not self.state_is_whole and
                    (unseen or one.uid in stand_ins)):
                self.not_rebuilt.add(one.mail.serial)
        self.state_is_whole = True

    # -- exit codes ----------------------------------------------------------

    def check_exit(self, session):
        if not session.undisturbed or session.code == 0:
            return
        # "UIDL refused where the state knows unique-ids" is 75.
        if session.code == 75 and not session.traits.uidl:
            return
        raise Violation("exit %s: %s" % (session.code, session.errors))

    # -- nothing is deleted unless asked, and delivered ----------------------

    def check_deleted(self, session):
        deleted = [one for one in session.listed if one.deleted]
        for one in deleted:
            if session.rc["keep"] == "on":
                raise Violation("deleted under keep on: %s" % one.mail)
            if (session.rc["keep"] == "3d" and
                    self.is_too_early(session, one.mail.text) and
                    not self.passes_for_twin(one, session)):
                raise Violation("deleted too early: %s" % one.mail)
        for one in deleted:
            text = one.mail.text
            have = self.delivered[text] + self.elsewhere[text]
            if self.deleted[text] > have and any(
                    excuse(one, session) for excuse in (
                        self.is_equal, self.passes_for_twin,
                        self.passes_for_mpops, self.is_deleted_by_size)):
                self.deleted[text] -= 1
        for one in deleted:
            text = one.mail.text
            have = self.delivered[text] + self.elsewhere[text]
            if self.deleted[text] > have:
                raise Violation("deleted, not delivered: %s" %
                                self.names([text]))

    def is_too_early(self, session, text):
        """Less than three days after its delivery, or while the clock is not
        to be trusted."""
        first = self.first.get(text, 0)
        return (first + 3 * DAY > session.now + 60 or
                self.newest > session.now + 60 or
                0 < self.last_good < session.now - 3 * DAY - 60)

    def twins(self, text):
        """Others with this header that were delivered."""
        return [other for other in set(self.delivered) | set(self.elsewhere)
                if other != text and other[0] == text[0] and
                self.delivered[other] + self.elsewhere[other] > 0]

    def is_equal(self, one, session):
        """"Only what was delivered from here ... and is still the message that
        was recorded (size, header) is ever deleted": an equal one with the
        same unique-id, or without any, is."""
        text = one.mail.text
        return self.delivered[text] > 0 and (not session.traits.uidl or any(
            mail.text == text and mail is not one.mail
            for mail, _ in self.holders[one.uid]))

    def is_deleted_by_size(self, one, session):
        """The same, where the server shows no header."""
        return session.shows_none(one) and any(
            mail.text != one.mail.text and None in (size, one.size) or
            size == one.size for mail, size in self.holders[one.uid])

    # -- nothing comes twice -------------------------------------------------

    def check_twice(self, session):
        for text in session.fresh:
            allowed = (len(self.ever[text]) - self.elsewhere[text] +
                       self.extra[text])
            excess = self.delivered[text] - allowed
            if excess <= 0:
                continue
            ones = [one for one in session.listed if one.mail.text == text]
            if not any(self.may_come_twice(one, session) for one in ones):
                raise Violation("twice: %s" % self.names([text]))
            self.extra[text] += excess

    def may_come_twice(self, one, session):
        if one.mail.serial in self.excused:
            return True
        for excuse in (self.cannot_be_settled, self.is_not_in_maildir,
                       self.was_absent_then, self.has_new_uid_alone,
                       self.shared_its_uid,
                       self.shares_uid, self.has_lost_its_uid,
                       self.gave_way_to_twin, self.is_back_in_other_size,
                       self.is_forgotten):
            if excuse(one, session):
                self.say("    %s may come twice: %s" % (
                    one.mail, excuse.__name__))
                self.excused.add(one.mail.serial)
                return True
        return False

    def excuse_later(self, session):
        """What this session would have brought once more, and did not come to,
        a later one does."""
        if session.good and session.rc["max_messages"] == "off":
            return
        for one in session.listed:
            if not one.given:
                self.may_come_twice(one, session)

    def cannot_be_settled(self, one, session):
        """"what cannot be settled is fetched under a warning and not deleted
        in that session"."""
        return ("cannot be told" in session.errors and not one.deleted and
                (session.hides(one) or self.knows_no_headers()))

    def knows_no_headers(self):
        return bool(self.mpop_uids)

    def is_not_in_maildir(self, one, session):
        """"a lost state file can be rebuilt from the Maildir itself (...
        believed only where the wire size agrees ...)"; the names there hold a
        hash of the unique-id."""
        if self.state_is_whole:
            return False
        if one.uid is None and session.hides(one):
            return True  # each run receives everything
        if any(mail.text != one.mail.text and one.uid not in
               [uid for uid, _ in self.wires[mail.text]]
               for mail, _ in self.holders[one.uid]):
            return True  # a file of another name stands for this one
        return (one.uid, one.size) not in self.wires[one.mail.text]

    def was_absent_then(self, one, _):
        """The same, of what was not listed in the session that did it."""
        return one.mail.serial in self.not_rebuilt

    def shares_uid(self, one, session):
        """"A UID that stands more often in the listing than it was delivered
        is a new message (popa3d gives equal mails equal UIDs)": which of them,
        where they are no equal ones?"""
        return one.uid is not None and any(
            other.uid == one.uid and other.mail.text != one.mail.text
            for other in session.listed)

    def has_lost_its_uid(self, one, session):
        """Another message of its size, or of a size that nobody knows, has the
        unique-id under which it was known, and passes for it."""
        known = self.known.get(one.mail.serial)
        return known is not None and any(
            other.uid in known.uids and other.mail is not one.mail and
            (other.size in known.sizes or None in known.sizes | {other.size})
            for other in session.listed)

    def has_new_uid_alone(self, one, session):
        """"A listing in which most of what was known ... has become unknown is
        a server that renumbered": of a few nothing is promised."""
        known = self.known.get(one.mail.serial)
        if known is None or known.uids == {one.uid}:
            return False
        has_header = one.mail not in self.mpop_uids.values()
        return (not session.most_unknown or known.deleted or
                len(known.uids) > 1 or known.missing and not (
                    one.mail.has_id and has_header))

    def shared_its_uid(self, one, _):
        """Of several known by one unique-id, in one size, nobody can tell which
        of them left: the wrong one may count as missing for long."""
        known = self.known.get(one.mail.serial)
        return known is not None and not one.mail.has_id and any(
            other.uids & known.uids and other.sizes & known.sizes
            for serial, other in self.known.items()
            if serial != one.mail.serial)

    def gave_way_to_twin(self, one, _):
        """"settled by those hashes, each delivered message answering for one
        listed one": another one with this header may have come first."""
        return (self.renumbered or self.without_uidl or self.was_damaged) and (
            any(text != one.mail.text and text[0] == one.mail.text[0]
                for text in self.ever))

    def is_back_in_other_size(self, one, _):
        """"the deletions count as unconfirmed until the next listing"; what is
        in it once more, in another size, is not "still the message that was
        recorded (size, header)"."""
        known = self.known.get(one.mail.serial)
        return (known is not None and known.deleted and
                known.sizes != {one.size})

    def is_forgotten(self, one, _):
        """"a UID is forgotten only after it has been missing for 30 days of
        successful sessions"."""
        return self.month and one.mail.serial in self.known

    # -- nothing is lost -----------------------------------------------------

    def check_lost(self, session, may_wait):
        for text in {one.mail.text for one in session.listed}:
            ones = [one for one in session.listed if one.mail.text == text]
            have = self.delivered[text] + self.elsewhere[text]
            for one in ones:
                if have >= len(ones):
                    break
                if one.mail.serial in self.let_off or self.passes_for_another(
                        one, session):
                    self.let_off.add(one.mail.serial)
                    have += 1
            if have < len(ones) and not may_wait:
                raise Violation("lost: %s" % self.names([text]))

    def passes_for_another(self, one, session):
        for excuse in (self.passes_for_twin, self.passes_for_older,
                       self.shares_uid,
                       self.passes_for_mpops, self.passes_for_rebuilt):
            if excuse(one, session):
                self.say("    %s may pass for another: %s" % (
                    one.mail, excuse.__name__))
                return True
        return False

    def passes_for_twin(self, one, session):
        """"Without UIDL the hash of the header by TOP is the identity"; "settled
        by those hashes"; "the same header stays known"."""
        twins = self.twins(one.mail.text)
        if not twins:
            return False
        if self.without_uidl or self.renumbered or self.was_damaged:
            return True
        return any(mail.text in twins for mail, _ in self.holders[one.uid])

    def passes_for_older(self, one, session):
        """"A known UID whose listed size is another now, or that was absent
        and is back, is looked at (TOP)": one of the same size that was never
        absent is not."""
        for mail, size in self.holders[one.uid]:
            known = self.known.get(mail.serial)
            if mail.text == one.mail.text or known is None:
                continue
            if known.deleted and not self.was_damaged:
                continue
            if None not in (size, one.size) and size != one.size:
                continue
            if (known.missing and not session.shows_none(one) and
                    self.state_is_whole):
                continue
            if session.rc["keep"] != "off" or session.shows_none(one):
                return True
        return False

    def passes_for_mpops(self, one, session):
        """Of what was imported nothing but the unique-id is known."""
        mail = self.mpop_uids.get(one.uid)
        return mail is not None and mail.text != one.mail.text

    def passes_for_rebuilt(self, one, session):
        """"believed only where the wire size agrees, and before a DELE only
        where the header does"."""
        return not self.state_is_whole and any(
            (one.uid, one.size) in wires
            for text, wires in self.wires.items()
            if text == one.mail.text or session.rc["keep"] != "off")

    # -- what is to go goes --------------------------------------------------

    def check_deletions_done(self, session):
        """"keep off: what was delivered goes at once, also what earlier runs
        delivered"."""
        if session.rc["keep"] != "off" or session.rc["max_messages"] != "off":
            return
        if not session.undisturbed:
            return
        for one in session.listed:
            if one.deleted or one.mail.serial in self.let_off:
                continue
            if "cannot be told" in session.errors:
                continue  # "not deleted in that session"
            if self.was_damaged and not session.traits.top:
                continue  # "before a DELE only where the header does"
            raise Violation("not deleted: %s" % one.mail)
