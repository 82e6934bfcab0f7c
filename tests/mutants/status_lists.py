"""Guards of parts and deltas of CRLs, of who makes them, and of epochs; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

_COMPARISON = ("tests/revocation/test_crl_comparison.py",)
_PARTS = ("tests/revocation/test_crl_parts.py",)

STATUS_LISTS: tuple[Guard, ...] = (
    *guards(
        "pkiconf/revocation/crl_contents.py",
        _COMPARISON,
        (
            "a complete list, or a part of it, is compared before it is signed",
            "        check_new_list(c, new, row, crls.current(c, issuer_id, part.shard, delta=True))",
            "        pass",
        ),
        (
            "a complete list is compared with the delta of its part",
            "row, crls.current(c, issuer_id, part.shard, delta=True))",
            "row, None)",
        ),
        (
            "a delta is compared before it is signed",
            "            check_new_delta(c, delta, before)",
            "            pass",
        ),
    ),
    *guards(
        "pkiconf/revocation/crl_contents.py",
        _PARTS,
        (
            "a delta begins from no list that had another URL",
            "        if base.covers_epoch >= located and (number == 0 or",
            "        if (number == 0 or",
        ),
        (
            "a delta begins from a list that somebody may still use",
            "(number == 0 or base.next_update > to_epoch(now))",
            "True",
        ),
    ),
    *guards(
        "pkiconf/revocation/crl_comparison.py",
        _COMPARISON,
        (
            "no line of the list before goes without a reason",
            "    _check_gone(c, new, listed, before, parse_crl(before.der).encoded_entries)\n",
            "",
        ),
        (
            "what was revoked since the list before is on the new one",
            '    _tell(before, missing, "leave out")\n',
            "",
        ),
        (
            "a part is compared with what has changed in it",
            "inventory.changed(c, new.issuer_id, before.covers_epoch, new.shard)",
            "inventory.changed(c, new.issuer_id, before.covers_epoch, None)",
        ),
        (
            "no revocation of the delta before goes without a reason",
            "gone = [entry for entry in told if entry not in listed]",
            "gone: list[bytes] = []",
        ),
        (
            "what the complete list shows may leave a delta",
            "listed | standing, entry",
            "listed, entry",
        ),
        (
            "a delta removes only what a list or the delta before has on hold",
            "    yield from sorted((*rows, before)",
            "    yield from sorted((before,)",
        ),
        ("a removal is no revocation", " if not parse_crl_entry(entry, in_delta=True).removed)", ")"),
    ),
    *guards(
        "pkiconf/revocation/crl_schedule.py",
        _PARTS,
        (
            "a delta goes with complete lists that are older",
            "complete is None or head.number < complete.number",
            "False",
        ),
        (
            "a revocation makes a new delta",
            "            return behind_complete or head.covers_epoch < head.status_epoch",
            "            return behind_complete",
        ),
        (
            "there is no delta where none is declared",
            "        if part.delta and self.standing(issuer_id, part).spec.delta is None:",
        ),
        (
            "a full list that is divided is only kept young",
            "            keep_young = part.shard == FULL and issuer_id in divided",
            "            keep_young = False",
        ),
    ),
    *guards(
        "pkiconf/revocation/crl.py",
        ("tests/revocation/test_crl_parts.py", "tests/revocation/test_crl.py"),
        ("of all processes one makes a list", "                if free or late:", "                if True:"),
        (
            "there is a complete list before there is a delta",
            "            self.current(issuer_id, part.complete)  # there has to be one to begin from",
            "            pass",
        ),
        (
            "no deltas are given out once they are declared no more",
            "        if standing.head is None or (part.delta and standing.spec.delta is None):",
            "        if standing.head is None:",
        ),
        ("a failed list's downloads leave nothing in memory", "raise failure.anew()", "raise failure"),
    ),
    *guards(
        "pkiconf/revocation/crl.py",
        _COMPARISON,
        (
            "what was withheld is not tried at each download",
            "        if failure is not None and failed_at is not None and failed_at <= now < failed_at + pause:",
        ),
        ("an override is published with its record", "            record(c, row.number)\n", ""),
        (
            "operators alone override",
            "        check_may(actor, Action.CRL_OVERRIDE, _address(issuer_id, part))\n",
            "",
        ),
        (
            "what was withheld is known to operators",
            "            self._withhold(issuer_id, part, ex.detail)\n",
            "            pass\n",
        ),
    ),
    *guards(
        "pkiconf/store/leases.py",
        ("tests/store/test_leases.py",),
        (
            "every holder of a lease has another number",
            "fencing = lease.fencing + 1",
            "fencing = lease.fencing",
        ),
        (
            "a lease that was taken over is not renewed",
            "UPDATE lease SET until_at = :until WHERE name = :name AND fencing = :fencing",
            "UPDATE lease SET until_at = :until WHERE name = :name AND :fencing > 0",
        ),
        (
            "a lease that was taken over is not given back",
            "UPDATE lease SET until_at = 0 WHERE name = :name AND fencing = :fencing",
            "UPDATE lease SET until_at = 0 WHERE name = :name AND :fencing > 0",
        ),
    ),
    *guards(
        "pkiconf/store/leases.py",
        ("tests/store/test_leases.py", "tests/revocation/test_crl_parts.py"),
        ("work that is done is free for others", "        if number is not None:"),
        ("whoever was killed over a lease is followed", "now, now + seconds)", "now, now + 1_000_000 * seconds)"),
    ),
    *guards(
        "pkiconf/store/sealer.py",
        ("tests/store/test_audit.py",),
        (
            "a sealer that was thought dead seals nothing",
            "    leases.check_fencing(c, LEASE, fencing)\n",
            "",
        ),
        ("a tree that has grown meanwhile is looked at again", "    if (0 if head is None else head + 1) != first:"),
    ),
    *guards(
        "pkiconf/authority/service_certificates.py",
        ("tests/revocation/test_ocsp.py", "tests/authority"),
        ("of all workers one renews a responder", "                if not ours or not", "                if not"),
        ("questions that a responder fails leave nothing in memory", "raise failed[2].anew()", "raise failed[2]"),
    ),
    *guards(
        "pkiconf/store/epochs.py",
        ("tests/store/test_epochs.py",),
        (
            "a stamp is as old as its question",
            "        self._began = began\n",
            "        self._began = self._steady()\n",
        ),
        (
            "a stamp is read again after a moment",
            "        if age < INTERVAL:",
            "        if age < WINDOW:",
        ),
        (
            "who waited for a stamp does not ask again",
            "            if self._steady() - self._began < INTERVAL:",
        ),
    ),
    *guards(
        "pkiconf/revocation/revoke.py",
        ("tests/revocation/test_revoke.py", "tests/concurrency/test_revocation.py"),
        (
            "a revocation is acknowledged when it is true everywhere",
            "        settle(self.parts.db)  # whoever hears of it now gets no other answer anywhere\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/revocation/ocsp.py",
        ("tests/revocation/test_ocsp.py",),
        (
            "an epoch that cannot be read vouches for nothing",
            "            return None  # the longer way tells why",
            "            return kept.answer",
        ),
    ),
)
