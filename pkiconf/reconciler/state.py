"""What is wished, what stands, and the difference: values that the reconciler passes around.

An *address* is a kind and a name: `settings`, `authority/corp-root`, `template/corp-issuing/web-server`,
`acme-policy/internal`, `eab/internal/ci`.
A *spec* is a JSON-able mapping of one object's fields; secrets in it are already replaced by marks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pkiconf.model.secret import Secret

Spec = Mapping[str, Any]

SETTINGS: Final = "settings"
IMPLIED: Final = "implied"
SYSTEM_OWNER: Final = "system"


class Action(StrEnum):
    """From the mildest to the gravest, which is also how several changed fields become one action."""

    UNCHANGED = "unchanged"
    UPDATE = "update"
    CREATE = "create"
    RENEW = "renew"  # a new CA certificate for the same key
    ROLLOVER = "rollover"  # a new key generation under the same identity
    REPLACE = "replace"  # another subject or issuer: a new identity in the same place
    RETIRE = "retire"


SIGNS: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.UNCHANGED: "=",
        Action.UPDATE: "~",
        Action.CREATE: "+",
        Action.RENEW: "⟳",
        Action.ROLLOVER: "⟳",
        Action.REPLACE: "±",
        Action.RETIRE: "-",
    }
)

NEEDS_CONSENT: Final = frozenset({Action.ROLLOVER, Action.REPLACE, Action.RETIRE})


def gravest(*actions: Action) -> Action:
    return max(actions, key=list(Action).index, default=Action.UNCHANGED)


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something an operator should know; it stops nothing. `address` is empty when it is about a file as a whole,
    `at` is file:line:column or empty."""

    address: str
    severity: Severity
    message: str
    at: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """One declared (or implied) object.

    `explicit` holds only what the operator wrote; what is not there keeps what stands. `moved_from` is the address
    it had before; `files` and `secrets` hold what was read for it at load, by dotted path, and never print. `write_to`
    is the file that gets what is told once; `also` names what its retirement takes along (`accounts`).
    """

    address: str
    explicit: Spec
    owner: str
    at: str = ""
    absent: bool = False
    moved_from: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)  # fingerprints of files: `key` (SPKI), `certificate` (DER)
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    write_to: Path | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Actual:
    """One object as it stands. `generation` counts writes of its row and is the precondition of every change.

    `facts` are what a kind wants to know beyond the stored spec (fingerprints, ends of validity), JSON-able.
    """

    address: str
    spec: Spec
    owner: str
    lifecycle: str = "active"
    generation: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def retired(self) -> bool:
        return self.lifecycle == "retired"


@dataclass(frozen=True, slots=True)
class DesiredState:
    objects: Mapping[str, Desired]
    workspace: str = "default"
    findings: tuple[Finding, ...] = ()

    @property
    def owner(self) -> str:
        return f"yaml:{self.workspace}"


@dataclass(frozen=True, slots=True)
class ActualState:
    """`buried` are addresses of destroyed objects: their names and URLs are never used again."""

    objects: Mapping[str, Actual]
    buried: frozenset[str] = frozenset()

    def of_kind(self, kind: str) -> tuple[Actual, ...]:
        return tuple(row for address, row in self.objects.items() if kind_of(address) == kind)


@dataclass(frozen=True, slots=True)
class Affects:
    """How much a change touches. `live_certificates` are neither expired nor revoked; held ones count. `accounts` are
    valid ACME accounts."""

    live_certificates: int = 0
    templates: int = 0
    authorities: int = 0
    accounts: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One address's way from `before` to `after` (whole specs; both None when unchanged).

    `refused` says why it cannot be done at all, `waiting` what has to happen elsewhere before it is finished;
    `deferred` that nothing of it can be done until then. `generation` is the row's precondition (None: there must be
    no row). `moved_from` is set when the change also renames. `blockers` are what lives and is in its way
    (certificates, accounts), and `also` what a retirement takes along; `files` names what has to be read beside the
    declaration, and `marks` are the fingerprints it had when it was planned. `unattended` are the ways over which a
    template will issue without anybody deciding. `at` is where it is declared (file:line:column), for one that cannot
    be done.
    """

    address: str
    action: Action
    reason: str
    before: Spec | None = None
    after: Spec | None = None
    affects: Affects = Affects()
    owner: str = ""
    needs: tuple[str, ...] = ()
    generation: int | None = None
    moved_from: str | None = None
    refused: str = ""
    waiting: str = ""
    deferred: bool = False
    blockers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    unattended: tuple[str, ...] = ()
    at: str = ""

    @property
    def pending(self) -> bool:
        return self.action is not Action.UNCHANGED


@dataclass(frozen=True, slots=True)
class Difference:
    """`unattended`: address of each template that will issue without anybody deciding → over which ways."""

    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    at: datetime
    unattended: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def kind_of(address: str) -> str:
    return address.split("/", 1)[0]


def name_of(address: str) -> str:
    """The last part: an authority's or a template's own name."""
    return address.rsplit("/", 1)[-1]


def authority_address(name: str) -> str:
    return f"authority/{name}"


def template_address(authority: str, name: str) -> str:
    return f"template/{authority}/{name}"


def authority_of(address: str) -> str:
    """The address of the authority that a template address hangs on."""
    return authority_address(address.split("/")[1])


def policy_address(name: str) -> str:
    return f"acme-policy/{name}"


def binding_address(policy: str, name: str) -> str:
    return f"eab/{policy}/{name}"


def policy_of(address: str) -> str:
    """The address of the ACME policy that a binding's address hangs on."""
    return policy_address(address.split("/")[1])


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=dict)


def digest_of(value: object) -> str:
    """SHA-256 of the canonical text, hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
