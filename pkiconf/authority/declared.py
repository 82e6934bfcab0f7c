"""What the reconciler hands over when it changes an authority."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pkiconf.model.secret import Secret
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.store.database import Connection

Guard = Callable[[Connection], None]
"""Runs first in a change's transaction and raises Conflict when the change may no longer be made."""


def unguarded(c: Connection) -> None:
    """For acts that no plan stands behind."""


@dataclass(frozen=True)
class DeclaredAuthority:
    """`resolved` is the whole declaration with its defaults, JSON-able, without secrets; `files` and `secrets`
    hold, under the path of the field (`key.file`, `key.passphrase`, `certificate.file`), what it refers to."""

    name: str
    resolved: Mapping[str, Any]
    owner: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def spec(self) -> AuthoritySpec:
        return AuthoritySpec.model_validate(dict(self.resolved))

    @property
    def text(self) -> str:
        return canonical(self.resolved)


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces, as stored and digested."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
