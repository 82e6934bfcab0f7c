"""CRLs that are late or were withheld, and OCSP answers that should have been signed ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pkiconf.clock import from_epoch
from pkiconf.diagnosis.finding import Finding, error, ok, warning
from pkiconf.diagnosis.serving import WORKER, serving
from pkiconf.issuance.issuer import authority_spec
from pkiconf.store import authorities, crls, ocsp_answers
from pkiconf.store.authorities import AuthorityRow, IssuerRow
from pkiconf.store.crls import FULL, CRLHead, Part
from pkiconf.store.database import Connection

CRLS: Final = "CRLs"
OCSP: Final = "OCSP"


def check_crls(c: Connection, now: datetime) -> Iterator[Finding]:
    found = list(_withheld(c))
    for authority, issuer in serving(c):
        for part in _parts(c, authority, issuer):
            head = crls.head(c, issuer.id, part.shard, part.delta)
            if head is not None:  # one that is not there yet is made when it is first asked for
                what = f"CRL {head.number} of {authority.name}{_which(part)}"
                found += _late(head, what, now)
    yield from found or [ok(CRLS, "none is late")]


def _parts(c: Connection, authority: AuthorityRow, issuer: IssuerRow) -> list[Part]:
    deltas = (False,) if authority_spec(authority).crl.delta is None else (False, True)
    return [Part(shard, delta) for shard in (FULL, *crls.parts(c, issuer.id)) for delta in deltas]


def _late(head: CRLHead, what: str, now: datetime) -> Iterator[Finding]:
    begin, end = from_epoch(head.this_update), from_epoch(head.next_update)
    if end < now:
        yield error(CRLS, f"{what} ended at {end.isoformat()}: relying parties refuse it", WORKER)
    elif begin + (end - begin) * 0.75 < now:
        yield warning(CRLS, f"{what} is past half its life and was not made again", WORKER)


def _withheld(c: Connection) -> Iterator[Finding]:
    for row in crls.withheld(c):
        issuer = authorities.get_issuer(c, row.issuer_id)
        name, part = authorities.get_authority(c, issuer.authority_id).name, Part(row.shard, bool(row.delta))
        options = f" --generation {issuer.generation}" + (f" --part {row.shard}" if row.shard != FULL else "")
        options += " --delta" if row.delta else ""
        at = from_epoch(row.at).isoformat()
        yield error(
            CRLS, f"since {at} no CRL of {name}{_which(part)} is published, and no revocation since: {row.reason}",
            f"Find out who changed the database. `pkiconf crl make {name}{options} --accept-dropped` publishes the list"
            " as it is",
        )  # fmt: skip


def _which(part: Part) -> str:
    return f" ({part})" if part != crls.FULL_LIST else ""


def check_presigned(c: Connection, now: datetime) -> Iterator[Finding]:
    """Where they are old, answers are signed when they are asked for, as everywhere else."""
    found, fresh = [], []
    for authority, issuer in serving(c):
        spec = authority_spec(authority).ocsp
        oldest = ocsp_answers.oldest(c, issuer.id) if spec.presign else None
        if oldest is None:
            continue
        begin = from_epoch(oldest)
        if begin + (spec.validity.after(begin) - begin) * 0.75 < now:
            text = f"answers of {authority.name} were signed ahead at {begin.isoformat()}, and not again since"
            found.append(warning(OCSP, text, WORKER))
        else:
            fresh.append(authority.name)
    yield from found
    if fresh and not found:
        yield ok(OCSP, f"answers signed ahead are fresh: {', '.join(fresh)}")
