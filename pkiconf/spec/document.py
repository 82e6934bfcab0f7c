"""All files together: declared things by kind, each with where it stands and what exactly was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pkiconf.model.secret import Secret
from pkiconf.spec.acme import ACMEPolicySpec
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.errors import Location, Problem
from pkiconf.spec.misfits import Declared
from pkiconf.spec.nodes import Node, find, steps
from pkiconf.spec.settings import Settings
from pkiconf.spec.template import TemplateSpec

S = TypeVar("S", bound=Declared, covariant=True)


@dataclass(frozen=True, eq=False)
class Declaration(Generic[S]):
    """One declared thing.

    `spec` has every default filled in; `explicit` holds only what the operator wrote, JSON-able and canonical, keys
    as in YAML (`import`, `from`). In both a secret's place holds its reference; the secret is in `secrets`
    and the bytes of named files in `files`, under dotted paths such as `key.passphrase`, items of a list by number. A
    practice statement's `cps.file` has become `cps.text`.
    """

    spec: S
    explicit: dict[str, Any]
    at: Location
    secrets: dict[str, Secret] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    node: Node | None = field(default=None, repr=False)

    def where(self, path: str) -> Location:
        """The place of `key.size`, or of the nearest thing above it that was written."""
        if self.node is None:
            return self.at
        node, taken = find(self.node, steps(path))
        return node.at if taken else self.at


@dataclass(frozen=True, eq=False)
class Document:
    """`findings` are worth a warning and stop nothing."""

    settings: Settings | None = None
    settings_explicit: dict[str, Any] = field(default_factory=dict)
    authorities: tuple[Declaration[AuthoritySpec], ...] = ()
    templates: tuple[Declaration[TemplateSpec], ...] = ()
    acme_policies: tuple[Declaration[ACMEPolicySpec], ...] = ()
    findings: tuple[Problem, ...] = ()
    settings_at: Location | None = None
    settings_secrets: dict[str, Secret] = field(default_factory=dict, repr=False)
