"""One-time challenge passwords, by their digests (RFC 8894 §7.3)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from pkiconf.errors import Conflict
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import scep_challenge


@dataclass(frozen=True, slots=True)
class ChallengeRow:
    """`bound` is JSON (see `scep.challenges`); `tries` counts how often it was presented with other names."""

    id: int
    template_id: int
    digest: bytes
    bound: str | None
    grant_id: int | None
    tries: int
    created_by: str
    created_at: int
    expires_at: int
    consumed_at: int | None
    consumed_by: str | None


_ADD = Prepared(
    inserting(
        scep_challenge,
        "id",
        "tries",
        "consumed_at",
        "consumed_by",
        ending="ON CONFLICT (digest) DO NOTHING RETURNING id",
    )
)
_FIND = Prepared(
    select(scep_challenge).where(
        scep_challenge.c.digest == bindparam("wanted"), scep_challenge.c.template_id == bindparam("of")
    ),
    ChallengeRow,
)
_LIST = Prepared(
    select(scep_challenge)
    .where(
        scep_challenge.c.template_id == bindparam("of"),
        scep_challenge.c.consumed_at.is_(None),
        scep_challenge.c.expires_at > bindparam("now"),
    )
    .order_by(scep_challenge.c.id)
    .limit(bindparam("most")),
    ChallengeRow,
)
# `consumed_at IS NULL` stands there as the partial index has it, so that only unused ones are counted.
_COUNT = Prepared(
    text("SELECT count(*) FROM scep_challenge WHERE template_id = :of AND consumed_at IS NULL AND expires_at > :now")
)
_CONSUME = Prepared(
    text(
        "UPDATE scep_challenge SET consumed_at = :now, consumed_by = :by"
        " WHERE id = :id AND consumed_at IS NULL AND expires_at > :now AND tries < :most"
    )
)
_RELEASE = Prepared(
    text(
        "UPDATE scep_challenge SET consumed_at = NULL, consumed_by = NULL WHERE template_id = :of AND consumed_by = :by"
    )
)
_RELEASE_CLAIMED = Prepared(
    text("UPDATE scep_challenge SET consumed_at = NULL, consumed_by = NULL WHERE grant_id = :grant_id")
)
_VOID = Prepared(
    text(
        "UPDATE scep_challenge SET expires_at = :now"
        " WHERE grant_id = :grant_id AND consumed_at IS NULL AND expires_at > :now"
    )
)
_VOID_ONE = Prepared(
    text(
        "UPDATE scep_challenge SET expires_at = :now"
        " WHERE template_id = :of AND digest = :digest AND consumed_at IS NULL AND expires_at > :now RETURNING id"
    )
)
_TRIED = Prepared(text("UPDATE scep_challenge SET tries = tries + 1 WHERE id = :id AND consumed_at IS NULL"))
_PRUNE = Prepared(text("DELETE FROM scep_challenge WHERE expires_at < :before"))


def add(
    c: Connection, *, template_id: int, digest: bytes, bound: str | None, grant_id: int | None, created_by: str,
    created_at: int, expires_at: int,
) -> int:  # fmt: skip
    """The new row's id. Raises Conflict for a challenge that was given before."""
    number = _ADD.scalar(
        c,
        {
            "template_id": template_id, "digest": digest, "bound": bound, "grant_id": grant_id,
            "created_by": created_by, "created_at": created_at, "expires_at": expires_at,
        },
    )  # fmt: skip
    if number is None:
        raise Conflict("this challenge was given before", "Try again")
    return int(number)


def find(c: Connection, template_id: int, digest: bytes) -> ChallengeRow | None:
    return _FIND.find(c, {"of": template_id, "wanted": digest})


def list_outstanding(c: Connection, template_id: int, now: int, most: int) -> list[ChallengeRow]:
    """Neither used nor expired, the oldest first."""
    return _LIST.all(c, {"of": template_id, "now": now, "most": most})


def count_outstanding(c: Connection, template_id: int, now: int) -> int:
    return int(_COUNT.scalar(c, {"of": template_id, "now": now}))


def consume(c: Connection, challenge_id: int, by: str, now: int, most_tries: int) -> None:
    """`by` names an attempt (see `model.scep.attempt_name`). Raises Conflict unless it can be used now and nobody else
    has used it."""
    if _CONSUME.count(c, {"id": challenge_id, "by": by, "now": now, "most": most_tries}) == 0:
        raise Conflict("the challenge was used by another request, or has expired meanwhile", "Ask for another one")


def release(c: Connection, template_id: int, by: str) -> None:
    """It is good again, if this attempt had used one: nothing was issued for it."""
    _RELEASE.count(c, {"of": template_id, "by": by})


def release_claimed(c: Connection, grant_id: int) -> None:
    """The one that a pre-approved request was claimed by, if it was one, is good again: nothing was issued for it."""
    _RELEASE_CLAIMED.count(c, {"grant_id": grant_id})


def void(c: Connection, grant_id: int, now: int) -> int:
    """Those that were made for a pre-approved request and are not used are good for nothing from now on."""
    return _VOID.count(c, {"grant_id": grant_id, "now": now})


def void_one(c: Connection, template_id: int, digest: bytes, now: int) -> int | None:
    """It is good for nothing from now on, unless it was used. Its id; None where it was good for nothing before."""
    found = _VOID_ONE.scalar(c, {"of": template_id, "digest": digest, "now": now})
    return int(found) if found is not None else None


def record_try(c: Connection, challenge_id: int) -> None:
    """It was presented with names that it is not good for."""
    _TRIED.count(c, {"id": challenge_id})


def prune(c: Connection, before: int) -> int:
    """Forget those that expired before that moment, used or not; how many there were."""
    return _PRUNE.count(c, {"before": before})
