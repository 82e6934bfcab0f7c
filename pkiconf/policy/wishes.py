"""What a CSR asks for in its extensions, judged. Nothing of it is ever copied.

A wish beyond the template is refused by name where the requester would otherwise hold a certificate that
lacks what was asked for and matters; what stock software asks for unbidden is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pkiconf.der import oids
from pkiconf.der.extensions import parse_basic_constraints, parse_extended_key_usage, parse_key_usage
from pkiconf.errors import Refused
from pkiconf.model.certificate import Extension
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage


@dataclass(frozen=True, slots=True)
class Granted:
    """What a template gives: `extended_key_usages` and `extensions` (all that it adds) by dotted OID."""

    ca: bool
    path_length: int | None
    key_usages: frozenset[KeyUsage]
    extended_key_usages: frozenset[str]
    extensions: frozenset[str]


# IIS asks for 0xF0, openssl's v3_req for nonRepudiation and keyEncipherment, whatever the template and the key are
# for. They are harmless in an end entity's certificate and not granted either.
_UNBIDDEN: Final = frozenset(
    {
        KeyUsage.DIGITAL_SIGNATURE,
        KeyUsage.NON_REPUDIATION,
        KeyUsage.KEY_ENCIPHERMENT,
        KeyUsage.DATA_ENCIPHERMENT,
        KeyUsage.KEY_AGREEMENT,
    }
)

# Who asks for one of these means something that a certificate without it would not have.
_WEIGHTY: Final[Mapping[str, str]] = {
    oids.NAME_CONSTRAINTS: "name constraints",
    oids.CERTIFICATE_POLICIES: "certificate policies",
    oids.POLICY_MAPPINGS: "policy mappings",
    oids.POLICY_CONSTRAINTS: "policy constraints",
    oids.INHIBIT_ANY_POLICY: "inhibitAnyPolicy",
    oids.TLS_FEATURE: "a TLS feature (must-staple)",
    oids.OCSP_NOCHECK: "OCSP nocheck",
    oids.CT_POISON: "the certificate transparency poison",
    "1.3.6.1.4.1.11129.2.4.2": "signed certificate timestamps",
}

_USAGE_NAMES: Final = {oid: name for name, oid in EXTENDED_KEY_USAGES.items()}


def check_wishes(extensions: Iterable[Extension], granted: Granted) -> None:
    """Raise Refused for a wish beyond `granted`, Malformed for one that cannot be read."""
    for extension in extensions:
        judge = _JUDGES.get(extension.oid)
        if judge is not None:
            judge(extension.value, granted)
        elif extension.oid not in granted.extensions:
            _check_other(extension)


def _check_other(extension: Extension) -> None:
    known = _WEIGHTY.get(extension.oid)
    if known is not None:
        raise Refused(f"the request asks for {known}, which the template does not add")
    if extension.critical:
        raise Refused(f"the request asks for the critical extension {extension.oid}, which the template does not add")


def _check_basic_constraints(value: bytes, granted: Granted) -> None:
    asked = parse_basic_constraints(value)
    if asked.ca and not granted.ca:
        raise Refused(
            "the request asks for basicConstraints CA:TRUE, and the template makes no authorities",
            "Use a template with starter certificate-authority",
        )
    if asked.path_length is not None and granted.path_length is not None and asked.path_length > granted.path_length:
        raise Refused(f"the request asks for path length {asked.path_length}; the template gives {granted.path_length}")


def _check_key_usage(value: bytes, granted: Granted) -> None:
    beyond = parse_key_usage(value) - granted.key_usages - _UNBIDDEN
    if beyond:
        names = ", ".join(usage for usage in KeyUsage if usage in beyond)
        raise Refused(f"the request asks for key usage {names}, which the template does not give")


def _check_extended_key_usage(value: bytes, granted: Granted) -> None:
    beyond = [oid for oid in parse_extended_key_usage(value) if oid not in granted.extended_key_usages]
    if beyond:
        names = ", ".join(_USAGE_NAMES.get(oid, oid) for oid in beyond)
        raise Refused(f"the request asks for extended key usage {names}, which the template does not give")


_JUDGES: Final[Mapping[str, Callable[[bytes, Granted], None]]] = {
    oids.BASIC_CONSTRAINTS: _check_basic_constraints,
    oids.KEY_USAGE: _check_key_usage,
    oids.EXTENDED_KEY_USAGE: _check_extended_key_usage,
}
