"""Certificates and the audit records about them, compared in both directions.

A status that was changed in the database without a record, a certificate that no record speaks of, and a record
whose certificate is gone are all told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import select

from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.revocation import RevocationReason
from pkiconf.store.database import Connection
from pkiconf.store.tables import certificate, certificate_signature, issuer
from pkiconf.store.whole import stream

_DESTROYED: Final = "authority.destroy"
_IMPORTED: Final = "certificate.import"
# What an act leaves a certificate as.
_LEAVES: Final[Mapping[str, CertificateStatus]] = {
    "certificate.reserve": CertificateStatus.RESERVED,
    "certificate.complete": CertificateStatus.GOOD,
    _IMPORTED: CertificateStatus.GOOD,
    "certificate.revoke": CertificateStatus.REVOKED,
    "certificate.hold": CertificateStatus.HELD,
    "certificate.release": CertificateStatus.GOOD,
    "certificate.abandon": CertificateStatus.ABANDONED,
}
_BEGINNINGS: Final = ("certificate.reserve", _IMPORTED)

_Key = tuple[int, bytes]  # issuer id, serial


class CertificateHistory:
    """What the records say of every certificate; a few hundred octets of memory for each."""

    def __init__(self) -> None:
        self._status: dict[_Key, tuple[str, str | None]] = {}  # and the reason, where a record gives one
        self._completed: set[_Key] = set()
        self._destroyed: set[int] = set()
        self._wrong: list[str] = []

    def add(self, fields: Mapping[str, Any]) -> None:
        """Take in a genuine record's body, in the order of their ids."""
        action, details = str(fields.get("action")), fields.get("details")
        if action == _DESTROYED and isinstance(details, dict):
            self._destroyed.update(number for number in details.get("issuers", ()) if isinstance(number, int))
        if action not in _LEAVES:
            return
        key = _key(details)
        if key is None:
            self._wrong.append(f"a record of {action} names no certificate")
            return
        if action in _BEGINNINGS and key in self._status:
            self._wrong.append(f"{_name(key)} has two records of its beginning")
        elif action not in _BEGINNINGS and key not in self._status:
            self._wrong.append(f"{_name(key)} has a record of {action}, but none of its beginning")
        if action == "certificate.complete":
            self._completed.add(key)
        self._status[key] = _status_after(action, details or {})

    def compare(self, c: Connection) -> Iterator[str]:
        """Sentences about what differs from the rows; nothing when all agrees. Empties the history."""
        yield from self._wrong
        row = certificate.c
        for issuer_id, serial, status, reason in stream(c, select(row.issuer_id, row.serial, row.status, row.reason)):
            key = (issuer_id, bytes(serial))
            said = self._status.pop(key, None)
            if said is None:
                yield f"{_name(key)} is {status}, and no record speaks of it"
            elif said[0] != status:
                yield f"{_name(key)} is {status}, but after its records it should be {said[0]}"
            elif said[1] is not None and said[1] != _reason(reason):
                yield f"{_name(key)} is {status} for the reason {_reason(reason)}, but its record says {said[1]}"
        standing = set(c.execute(select(issuer.c.id)).scalars())
        for key in self._status:
            if key[0] in standing or key[0] not in self._destroyed:
                yield f"{_name(key)} has records, but is not in the database"
        yield from self._compare_signatures(c, standing)

    def _compare_signatures(self, c: Connection, standing: set[int]) -> Iterator[str]:
        signature = certificate_signature.c
        for issuer_id, serial in stream(c, select(signature.issuer_id, signature.serial)):
            self._completed.discard((issuer_id, bytes(serial)))
        for key in self._completed:
            if key[0] in standing and key not in self._status:
                yield f"{_name(key)} was signed by its records, but its signature is not in the database"


def _status_after(action: str, details: Mapping[str, Any]) -> tuple[str, str | None]:
    if action == _IMPORTED and isinstance(details.get("status"), str):
        return str(details["status"]), None
    reason = details.get("reason") if action == "certificate.revoke" else None
    return _LEAVES[action].value, reason if isinstance(reason, str) else None


def _reason(code: int | None) -> str:
    try:
        return RevocationReason.from_code(code or 0).text
    except ValueError:
        return f"{code}, which no standard knows"


def _key(details: object) -> _Key | None:
    if not isinstance(details, dict):
        return None
    try:
        return int(details["issuer"]), bytes.fromhex(details["serial"])
    except (TypeError, ValueError, KeyError):
        return None


def _name(key: _Key) -> str:
    return f"certificate {key[1].hex()} of issuer {key[0]}"
