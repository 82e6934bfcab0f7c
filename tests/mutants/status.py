"""Guards of CRLs and OCSP answers."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

_REVOCATION = ("tests/revocation", "tests/concurrency/test_revocation.py")

STATUS: tuple[Guard, ...] = (
    *guards(
        "pkiconf/revocation/kept.py",
        ("tests/revocation",),
        (
            "an answer is given again only while the same is found",
            " and facts == self.basis.facts else None",
            " else None",
        ),
        ("an answer is given unseen only at the same stamp", "if stamp == self.basis.stamp and now", "if now"),
        ("an answer is given again for a short while only", "self.made <= now < self.made + REUSE", "True"),
        ("a responder is looked at again in time", " and now < self.basis.until and ", " and "),
    ),
    *guards(
        "pkiconf/store/epochs.py",
        ("tests/store/test_epochs.py",),
        ("a stamp is believed for a moment only", "        if age < WINDOW:", "        if age < 100 * WINDOW:"),
        (
            "a revocation is acknowledged when no stamp from before is believed",
            "        sleep(WINDOW)",
            "        sleep(0)",
        ),
        (
            "a stamp grows old while the host sleeps",
            "steady: Callable[[], float] = steady_seconds)",
            "steady: Callable[[], float] = time.monotonic)",
        ),
    ),
    *guards(
        "pkiconf/revocation/ocsp.py",
        ("tests/revocation/test_ocsp_at_once.py",),
        (
            "a main loop waits for no server",
            '        if known is not None or self._parts.db.dialect != "sqlite":',
            "        if known is not None:",
        ),
        ("a main loop signs no OCSP answer with a slow key", "        if not (wait or responder.quick):"),
    ),
    *guards(
        "pkiconf/authority/service_certificates.py",
        ("tests/revocation/test_ocsp_at_once.py",),
        ("a main loop waits for no responder certificate", "        if not wait:\n            raise WouldWait\n", ""),
        (
            "who signs is looked at again in time",
            "known.stamp == stamp and now < known.look_at:",
            "known.stamp == stamp:",
        ),
    ),
    *guards(
        "pkiconf/revocation/ocsp.py",
        ("tests/revocation/test_ocsp.py", "tests/revocation/test_presigning.py"),
        (
            "what was signed ahead is given only while the certificate's row is the same",
            "            or row.changed_epoch != status.changed_epoch\n",
            "",
        ),
        (
            "what was signed ahead answers the CertID as it was asked",
            "            or cert_id.der not in row.response_data  # a client may write its AlgorithmIdentifier another"
            " way\n",
            "",
        ),
        (
            "what was signed ahead is verified before it is given",
            "            verify_signature(responder.spki, responder.algorithm, row.response_data, row.signature)\n",
            "            pass\n",
        ),
        (
            "what was signed ahead has to be young",
            " < row.produced_at + (row.next_update - row.produced_at) * 3 // 4",
            "",
        ),
        (
            "a serial that was never issued is asked about each time",
            "        if answer.known:",
            "        if True:",
        ),
    ),
    *guards(
        "pkiconf/der/usual_ocsp_request.py",
        ("tests/der/test_usual_ocsp_request.py",),
        ("what is read by hand has its own octets to the end", "    if found != end:"),
        ("a length of two octets needs them", "    if size != 0x81 or data[at + 2] < 0x80:"),
        ("what is read by hand is no other extension", "    if data[at : at + len(_NONCE)] != _NONCE:"),
        ("a serial number that is read by hand is none that is negative", "data[start] >= 0x80\n            or ", ""),
    ),
    *guards(
        "pkiconf/store/ocsp_answers.py",
        ("tests/revocation/test_presigning.py",),
        (
            "what was true before is not put back",
            '\n        " WHERE ocsp_answer.changed_epoch <= excluded.changed_epoch",',
            ",",
        ),
    ),
    *guards(
        "pkiconf/revocation/crl_schedule.py",
        _REVOCATION,
        ("a revocation makes a new CRL", " and head.covers_epoch < head.status_epoch\n", " and False\n"),
        ("a CRL is made again at half its life", "if now >= half or ", "if "),
        ("a CRL from the future is made again", " or now < head.this_update", ""),
        ("a part names every URL that certificates name", " or head.covers_epoch < head.located_epoch", ""),
        (
            "a part that no certificate names is not made",
            "        if part.shard != FULL and not",
            "        if False and not",
        ),
    ),
    *guards(
        "pkiconf/revocation/crl.py",
        _REVOCATION,
        (
            "a CRL's signature is verified before it is published",
            "        verify_signature(found.key.spki, algorithm, tbs, signature)\n",
            "",
        ),
        (
            "a newer CRL that covers less is not enough",
            "            if known.covers_epoch >= row.covers_epoch:",
            "            if True:",
        ),
    ),
    *guards(
        "pkiconf/revocation/crl_contents.py",
        ("tests/revocation/test_crl.py",),
        (
            "a CRL from the future lets nothing go that has not ended",
            "min(last_update, to_epoch(now - SKEW))",
            "last_update",
        ),
    ),
    *guards(
        "pkiconf/revocation/crl_comparison.py",
        ("tests/revocation/test_crl_comparison.py",),
        ("a CRL holds what the database does", "    if known != len(new.entries):"),
        ("a CRL holds no certificate twice", "    if len(listed) != known:"),
        ("a line goes only with a reason", "if not _may_go(c, new, listed, entry)", "if False"),
        ("only what was held is released", "    return was_held and row.status", "    return row.status"),
        ("a final revocation becomes no hold", "(was_held or not becomes_held) and ", ""),
        (
            "a final revocation becomes no hold on a delta",
            "if entry not in told and _is_hold(entry))",
            "if False)",
        ),
        (
            "what leaves because it has ended has ended by its certificate",
            "        return _has_ended(c, new, row)",
            "        return True",
        ),
        ("a delta without a complete list is told", "        if delta is not None:"),
        (
            "a line of a delta goes only with a reason",
            "listed | standing, entry))",
            "listed | standing, entry) and False)",
        ),
        ("a delta removes only what was on hold", "if not _is_removable(entry)", "if False"),
        (
            "what a later delta lists stays on the complete one",
            "    if delta is not None and delta.number > before.number:",
        ),
        ("a certificate keeps its part", " or (new.shard is not None and row.crl_shard != new.shard)", ""),
    ),
)
