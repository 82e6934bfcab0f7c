"""Which CRLs an issuer has, and which of them are due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.errors import NotFound
from pkiconf.issuance.issuer import authority_spec
from pkiconf.issuance.parts import Parts
from pkiconf.spec.status import CRLSpec
from pkiconf.store import authorities, crls
from pkiconf.store.crls import FULL, Part
from pkiconf.store.database import Connection

_SERVING: Final = ("active", "retiring")
Place = tuple[int, Part]
"""An issuer's id, and which of its CRLs."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is of one CRL. `complete` is the head of the complete list, also for a delta."""

    head: crls.CRLHead | None
    complete: crls.CRLHead | None
    spec: CRLSpec


@dataclass(frozen=True, slots=True)
class Freshness:
    """Of the worst of an issuer's CRLs, each figure for itself: seconds since thisUpdate, until nextUpdate, and how
    many status changes it does not tell though it should."""

    age: int
    left: int
    behind: int


class Schedule:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._specs: dict[int, tuple[int, CRLSpec]] = {}

    def parts_of(self, issuer_id: int) -> tuple[Part, ...]:
        """Every CRL that relying parties may ask an issuer for."""

        def read(c: Connection) -> tuple[Part, ...]:
            issuer = authorities.get_issuer(c, issuer_id)
            deltas = (False, True) if self._spec(c, issuer.authority_id).delta is not None else (False,)
            return tuple(Part(shard, delta) for shard in (FULL, *crls.parts(c, issuer_id)) for delta in deltas)

        return self._parts.db.read(read)

    def freshness(self) -> dict[int, Freshness]:
        """How fresh the CRLs of each serving issuer are, parts and deltas too; without issuers that have none yet."""
        now = to_epoch(self._parts.now())
        found = {}
        for row in self._parts.db.read(authorities.list_issuers):
            parts = self.parts_of(row.id) if row.state in _SERVING else ()
            divided = any(part.shard != FULL for part in parts)
            ages, left, behind = [], [], [0]
            for part in parts:
                standing = self.standing(row.id, part)
                if (head := standing.head) is None:
                    continue
                ages.append(now - head.this_update)
                left.append(head.next_update - now)
                # As in `is_due`: where there are deltas they tell what is new, and where there are parts, these.
                if part.delta == (standing.spec.delta is not None) and not (divided and part.shard == FULL):
                    behind.append(head.status_epoch - head.covers_epoch)
            if ages:
                found[row.id] = Freshness(max(ages), min(left), max(behind))
        return found

    def due(self) -> tuple[Place, ...]:
        """What should be made again: past half its life, or behind a revocation. The full list of an issuer whose
        certificates name parts is only kept young; it is made anew when somebody fetches it."""
        rows = self._parts.db.read(authorities.list_issuers)
        places = [(row.id, part) for row in rows if row.state in _SERVING for part in self.parts_of(row.id)]
        divided = {issuer_id for issuer_id, part in places if part.shard != FULL}

        def counts(issuer_id: int, part: Part) -> bool:
            keep_young = part.shard == FULL and issuer_id in divided
            return self.is_due(self.standing(issuer_id, part), part, keep_young=keep_young)

        return tuple(place for place in places if counts(*place))

    def check_named(self, issuer_id: int, part: Part) -> None:
        """Before a number is spent: anybody may ask for any part. Raises NotFound."""
        if part.delta and self.standing(issuer_id, part).spec.delta is None:
            raise NotFound("this authority has no delta CRLs")
        if part.shard != FULL and not self._parts.db.read(lambda c: crls.locations(c, issuer_id, part.shard)):
            raise NotFound("no certificate names such a part of this CRL")

    def standing(self, issuer_id: int, part: Part) -> Standing:
        def read(c: Connection) -> Standing:
            spec = self._spec(c, authorities.get_issuer(c, issuer_id).authority_id)
            complete = crls.head(c, issuer_id, part.shard)
            head = crls.head(c, issuer_id, part.shard, delta=True) if part.delta else complete
            return Standing(head, complete, spec)

        return self._parts.db.read(read)

    def is_due(self, standing: Standing, part: Part, *, keep_young: bool = False) -> bool:
        head, complete = standing.head, standing.complete
        if head is None:
            return True
        half = head.this_update + (head.next_update - head.this_update) // 2
        now = to_epoch(self._parts.now())
        # One from the future was made while the clock was ahead, and nobody believes it yet.
        if now >= half or now < head.this_update or head.covers_epoch < head.located_epoch:
            return True
        if part.delta:  # RFC 5280 §6.3.3 (c): a delta goes with complete lists that are older than itself
            behind_complete = complete is None or head.number < complete.number
            return behind_complete or head.covers_epoch < head.status_epoch
        return standing.spec.delta is None and not keep_young and head.covers_epoch < head.status_epoch

    def _spec(self, c: Connection, authority_id: int) -> CRLSpec:
        generation = authorities.get_generation(c, authority_id)
        known = self._specs.get(authority_id)
        if known is None or known[0] != generation:
            spec = authority_spec(authorities.get_authority(c, authority_id)).crl
            known = self._specs[authority_id] = (generation, spec)
        return known[1]
