"""The declared kinds, each after those it depends on. A new kind is a file here and a line below."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pkiconf.reconciler.kinds.acme_binding import ACMEBindingKind
from pkiconf.reconciler.kinds.acme_policy import ACMEPolicyKind
from pkiconf.reconciler.kinds.authority import AuthorityKind
from pkiconf.reconciler.kinds.kind import Kind
from pkiconf.reconciler.kinds.settings import SettingsKind
from pkiconf.reconciler.kinds.template import TemplateKind
from pkiconf.reconciler.state import kind_of

KINDS: Final[tuple[Kind, ...]] = (SettingsKind(), AuthorityKind(), TemplateKind(), ACMEPolicyKind(), ACMEBindingKind())

_BY_NAME: Final[Mapping[str, Kind]] = MappingProxyType({kind.name: kind for kind in KINDS})


def get_kind(address: str) -> Kind:
    return _BY_NAME[kind_of(address)]
