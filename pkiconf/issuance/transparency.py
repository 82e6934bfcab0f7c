"""Precertificates on their way to being certificates: signed, shown to logs, their promises recorded (RFC 6962 §3.1).

    reserve ─▶ sign precertificate ─▶ record ─▶ show to logs ─▶ record promises and TBS ─▶ sign ─▶ complete
    tx 1       key                    tx 2      network         tx 3                        key     tx 4

Whoever finds it in between goes on from what is recorded. What the logs saw was recorded first, so the same
precertificate is shown again; a TBS is recorded once, so that there is one certificate for it, whichever promises came.
No transaction is open while a log is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pkiconf.clock import from_epoch, to_epoch
from pkiconf.der.certificate import assemble_certificate
from pkiconf.der.transparency import (
    SCT,
    check_same_but_for_timestamps,
    check_sct,
    encode_final_tbs,
    encode_sct,
    parse_sct,
)
from pkiconf.egress.transparency import Logs
from pkiconf.errors import Refused, Unverified
from pkiconf.issuance.audited import address_of, details
from pkiconf.issuance.issuer import path_to_root
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, SignatureAlgorithm
from pkiconf.policy.transparency import is_stale, key_of, logs_for
from pkiconf.spec.template import TemplateSpec
from pkiconf.spec.transparency import CTSpec, LogSpec
from pkiconf.steps import Step
from pkiconf.store import certificates, precertificates, templates
from pkiconf.store.database import Connection

Sign = Callable[[bytes], bytes]
"""Signs a TBSCertificate with the issuer's key, and has checked the signature. Raises SigningUnavailable."""


@dataclass(frozen=True, slots=True)
class TooFew:
    """Not enough logs promised. `silent` are the URLs of those that did not answer at all."""

    reason: str
    terms: CTSpec
    age: int
    silent: frozenset[str]

    @property
    def gives_up(self) -> bool:
        """Whether it is refused now, rather than left to be tried again."""
        return self.terms.on_failure == "refuse" or self.age >= self.terms.give_up_after.seconds


@dataclass(frozen=True, slots=True)
class _Precertificate:
    """What is recorded of one; `promises` by log id, `path` is the chain above it with its root."""

    row: precertificates.PrecertificateRow
    terms: CTSpec
    promises: Mapping[bytes, SCT]
    path: tuple[bytes, ...]
    not_after: datetime
    reserved_at: int

    @property
    def algorithm(self) -> SignatureAlgorithm:
        return SIGNATURE_ALGORITHMS[self.row.algorithm]


class Transparency:
    def __init__(self, parts: Parts, logs: Logs) -> None:
        self._parts = parts
        self._logs = logs

    def disclose(
        self, id: CertificateID, sign: Sign, issuer_spki: bytes, passed_over: frozenset[str] = frozenset()
    ) -> bytes | TooFew:
        """The TBSCertificate to sign, recorded, with the promises of enough logs; or why there is none.

        Logs of the URLs `passed_over` are not asked. Raises SigningUnavailable, Unavailable (database).
        """
        recorded = self._parts.db.read(lambda c: precertificates.find_tbs(c, id))
        if recorded is not None:
            return recorded
        found = self._parts.db.read(lambda c: _load(c, id))
        signature = found.row.signature or self._sign(id, found, sign)
        return self._collect(id, found, signature, issuer_spki, passed_over)

    def _sign(self, id: CertificateID, found: _Precertificate, sign: Sign) -> bytes:
        """Recorded before anybody sees it: a signature of most kinds is another one each time it is made."""
        made = sign(found.row.tbs)

        def write(c: Connection) -> bytes:
            self._parts.record(c, SYSTEM, "certificate.precertify", address_of(id), details(id))
            return precertificates.record_signature(c, id, made)

        return self._parts.db.write(Step.PRECERTIFICATE_SIGN, write)

    def _collect(
        self,
        id: CertificateID,
        found: _Precertificate,
        signature: bytes,
        issuer_spki: bytes,
        passed_over: frozenset[str],
    ) -> bytes | TooFew:
        terms, age = found.terms, to_epoch(self._parts.now()) - found.reserved_at
        try:
            logs = logs_for(terms, found.not_after)
        except Refused as ex:  # they were others when it was reserved
            return TooFew(ex.detail, terms, age, frozenset())
        kept = [found.promises[key_of(log).id] for log in logs if key_of(log).id in found.promises]
        asked = [log for log in logs if key_of(log).id not in found.promises and log.url not in passed_over]
        chain = (assemble_certificate(found.row.tbs, found.algorithm, signature), *found.path)

        def check(log: LogSpec, sct: SCT) -> None:
            check_sct(sct, key_of(log), issuer_spki, found.row.tbs)
            if is_stale(sct.timestamp, found.reserved_at, to_epoch(self._parts.now())):
                raise Unverified(f"its timestamp is of {_moment(sct.timestamp)}, which cannot be")

        missing = terms.required_scts - len(kept)
        gathered = self._logs.gather(asked, chain, check, missing, terms.timeout.seconds) if missing > 0 else None
        scts = (*kept, *(gathered.scts if gathered else ()))
        recorded = self._record(id, found, scts)
        if recorded is not None:
            return recorded
        told = dict(gathered.failures) if gathered else {}
        told |= {log.url: "it was silent a moment ago" for log in logs if log.url in passed_over}
        said = "; ".join(f"{url}: {why}" for url, why in told.items())
        return TooFew(
            f"{len(scts)} of {terms.required_scts} certificate transparency logs promised to include it ({said})",
            terms,
            age,
            gathered.silent if gathered else frozenset(),
        )

    def _record(self, id: CertificateID, found: _Precertificate, scts: tuple[SCT, ...]) -> bytes | None:
        """Transaction 3: what the logs promised and, once there is enough of it, the TBSCertificate; that which
        counts. None while there is too little."""
        fresh = [sct for sct in scts if sct.log_id not in found.promises]
        enough = len(scts) >= found.terms.required_scts
        if not fresh and not enough:
            return None
        made = _final(found.row.tbs, scts) if enough else None
        rows = [(sct.log_id, encode_sct(sct)) for sct in fresh]
        now = to_epoch(self._parts.now())
        told = details(id) | {"logs": [sct.log_id.hex() for sct in scts], "enough": enough}

        def write(c: Connection) -> bytes | None:
            precertificates.record_timestamps(c, id, rows, now)
            self._parts.record(c, SYSTEM, "certificate.disclose", address_of(id), told)
            return precertificates.record_tbs(c, id, found.row.algorithm, made) if made is not None else None

        return self._parts.db.write(Step.CERTIFICATE_DISCLOSE, write)


def _final(precertificate: bytes, scts: tuple[SCT, ...]) -> bytes:
    """What will be signed: compared with what the logs saw before it is recorded. Raises Unverified."""
    made = encode_final_tbs(precertificate, scts)
    check_same_but_for_timestamps(precertificate, made)
    return made


def _load(c: Connection, id: CertificateID) -> _Precertificate:
    """By the logs that the template has today: one whose logs are gone for good can be finished by declaring others.
    Where it has none any more, by those of the version that the certificate was made from."""
    row, certificate = precertificates.find(c, id), certificates.get_certificate(c, id)
    assert row is not None
    assert certificate.template_version_id is not None
    version = templates.get_template_version(c, certificate.template_version_id)
    terms = _terms(templates.get_template(c, version.template_id).spec) or _terms(version.resolved)
    assert terms is not None
    return _Precertificate(
        row=row,
        terms=terms,
        promises={log_id: parse_sct(sct) for log_id, sct in precertificates.list_timestamps(c, id).items()},
        path=path_to_root(c, id.issuer_id),
        not_after=from_epoch(certificate.not_after),
        reserved_at=certificate.reserved_at,
    )


def _terms(spec: str) -> CTSpec | None:
    return TemplateSpec.model_validate(json.loads(spec)).ct


def _moment(milliseconds: int) -> str:
    try:
        return f"{from_epoch(milliseconds // 1000):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"
