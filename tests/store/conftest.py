"""A small PKI in rows: one authority with one issuer and one template, and certificates on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import pytest

from pkiconf.steps import Step
from pkiconf.store import authorities, certificates, keys, templates
from pkiconf.store.certificates import NewCertificate
from pkiconf.store.database import Connection, Database

T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    db: Database
    authority_id: int
    issuer_id: int
    template_id: int
    template_version_id: int
    numbers: Iterator[int]

    def write(self, fn: Callable[[Connection], T]) -> T:
        return self.db.write(Step.AUTHORITY_CREATE, fn)

    def read(self, fn: Callable[[Connection], T]) -> T:
        return self.db.read(fn)

    def intent(self, **different: object) -> NewCertificate:
        number = next(self.numbers)
        values: dict[str, object] = {
            "issuer_id": self.issuer_id,
            "serial": b"\x40" + number.to_bytes(18),
            "bucket": 20_000,
            "template_version_id": self.template_version_id,
            "not_before": 1_000,
            "not_after": 9_000,
            "origin_kind": "request",
            "origin_id": str(number),
            "reserved_at": 1_000,
            "lease_until": 1_060,
            "algorithm": "Ed25519",
            "tbs": b"tbs",
        }
        return NewCertificate(**{**values, **different})  # type: ignore[arg-type]

    def reserved(self, **different: object) -> bytes:
        """The serial of a new intent."""
        new = self.intent(**different)
        self.write(lambda c: certificates.reserve(c, new))
        return new.serial

    def issued(self, names: tuple[tuple[str, str], ...] = (), **different: object) -> bytes:
        """The serial of a new complete certificate."""
        new = self.intent(**different)

        def write(c: Connection) -> None:
            certificates.reserve(c, new)
            certificates.complete(c, new.issuer_id, new.serial, b"signature", 1_001, names)

        self.write(write)
        return new.serial


def add_authority(c: Connection, name: str) -> int:
    return authorities.add_authority(
        c, slug=name, name=name, owner="yaml:default", lifecycle="active", spec="{}", spec_digest="d", created_at=1
    )


def add_issuer(c: Connection, authority_id: int, generation: int = 1) -> int:
    spki = f"spki {authority_id} {generation}".encode()
    key_id = keys.add_key(c, spki=spki, algorithm="ed25519", created_at=1, sealed=b"s", wrapping_key_id="m1")
    return authorities.add_issuer(
        c,
        authority_id=authority_id,
        key_id=key_id,
        subject=b"subject",
        ski=spki,
        generation=generation,
        state="active",
        created_at=1,
    )


def add_template(c: Connection, authority_id: int, name: str) -> int:
    return templates.add_template(
        c, slug=name, authority_id=authority_id, name=name, owner="implied", spec="{}", spec_digest="d", created_at=1
    )


@pytest.fixture
def rows(database: Database) -> Rows:
    def write(c: Connection) -> tuple[int, int, int, int]:
        authority_id = add_authority(c, "corp")
        issuer_id = add_issuer(c, authority_id)
        template_id = add_template(c, authority_id, "web")
        return authority_id, issuer_id, template_id, templates.get_template(c, template_id).current_version_id

    return Rows(database, *database.write(Step.AUTHORITY_CREATE, write), count(1))
