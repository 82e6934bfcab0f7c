"""The guards of certificate transparency; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

_DER = ("tests/der/test_transparency.py",)
_EGRESS = ("tests/egress/test_transparency.py",)
_ISSUANCE = ("tests/issuance/test_transparency.py",)

TRANSPARENCY: tuple[Guard, ...] = (
    *guards(
        "pkiconf/der/transparency.py",
        _DER,
        ("a timestamp is of the log it is asked of", "    if sct.log_id != key.id:"),
        ("a timestamp is signed with what the log's key has", "    if sct.signature[:2] != key.marks:"),
        (
            "a log's signature over a timestamp is checked",
            "    verify_signature(key.spki, key.algorithm, signed_by_log(sct, issuer_spki, tbs), octets)\n",
            "",
        ),
        ("a log has a key that logs may have", "    if not _is_a_logs(facts):"),
        (
            "a precertificate holds its poison and no timestamps",
            "    if _count(precertificate, oids.CT_POISON) != 1 or _count(precertificate, oids.CT_TIMESTAMPS):",
        ),
        (
            "a certificate holds its timestamps and no poison",
            "    if _count(final, oids.CT_TIMESTAMPS) != 1 or _count(final, oids.CT_POISON):",
        ),
        (
            "a certificate is what logs saw, octet for octet",
            "    if without_extension(precertificate, oids.CT_POISON) != without_extension(final, oids.CT_TIMESTAMPS):",
        ),
        ("a timestamp has no octets left over", "    if all_of_it != len(octets):"),
    ),
    *guards(
        "pkiconf/issuance/transparency.py",
        _ISSUANCE,
        (
            "what logs answer is checked before it counts",
            "            check_sct(sct, key_of(log), issuer_spki, found.row.tbs)\n",
            "",
        ),
        (
            "a timestamp is neither from before its precertificate nor from the future",
            "            if is_stale(sct.timestamp, found.reserved_at, to_epoch(self._parts.now())):",
        ),
        (
            "enough logs have to promise",
            "        enough = len(scts) >= found.terms.required_scts",
            "        enough = True",
        ),
    ),
    *guards(
        "pkiconf/store/precertificates.py",
        _ISSUANCE,
        ("the first signature of a precertificate counts", " AND signature IS NULL", ""),
        (
            "what was recorded to be signed is what is signed",
            "    return bytes(_TBS.scalar(c, _at(id)))\n\n\ndef find_tbs",
            "    return tbs\n\n\ndef find_tbs",
        ),
    ),
    *guards(
        "pkiconf/issuance/pipeline.py",
        _ISSUANCE,
        ("an end that too few logs take is refused at once", "    logs_for(terms, tbs.not_after)\n", ""),
    ),
    *guards(
        "pkiconf/issuance/intents.py",
        _ISSUANCE,
        ("what too few logs promise for is given up where it is declared so", "        if found.gives_up:"),
    ),
    *guards(
        "pkiconf/egress/transparency.py",
        _EGRESS,
        ("a log has so many threads and no more", "            elif self._threads < WORKERS:", "            else:"),
        (
            "a log is not waited for longer than anybody waits",
            "                if attempt == _ATTEMPTS or question.over or"
            " question.deadline.part(wait).at >= question.deadline.at:",
            "                if attempt == _ATTEMPTS or question.over:",
        ),
    ),
)
