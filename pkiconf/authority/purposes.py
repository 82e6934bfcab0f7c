"""What an authority's service certificates are for: who gets one, with which key, under which name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pkiconf.errors import Refused
from pkiconf.model.keys import KeyAlgorithm, KeyType, get_key_algorithm
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.store import service_certificates, templates
from pkiconf.store.authorities import AuthorityRow
from pkiconf.store.database import Connection

OCSP: Final = "ocsp"
TSA: Final = "tsa"
SCEP_RA: Final = "scep_ra"
PROFILE: Final = "profile"


@dataclass(frozen=True, slots=True)
class Purpose:
    """`is_wanted`: whether what is declared asks for such a certificate, so that it is there before it is needed."""

    name: str
    common_name: str
    key: Callable[[AuthoritySpec], KeyAlgorithm]
    is_wanted: Callable[[Connection, AuthorityRow, AuthoritySpec], bool]


def _declared_key(spec: AuthoritySpec) -> KeyAlgorithm:
    return spec.service_certificates.key.algorithm


def _key_that_deciphers(spec: AuthoritySpec) -> KeyAlgorithm:
    """SCEP's clients encipher to RSA keys only, and old ones to none above 3072 bits (RFC 8894 §3.1)."""
    declared = _declared_key(spec)
    return declared if declared.type is KeyType.RSA and declared.bits <= 3072 else get_key_algorithm("rsa-2048")


def _has_scep(c: Connection, row: AuthorityRow, spec: AuthoritySpec) -> bool:
    declared = (json.loads(one.spec) for one in templates.list_templates(c, row.id) if one.lifecycle == "active")
    return any((one.get("scep") or {}).get("enabled") for one in declared)


def _key_that_apple_knows(spec: AuthoritySpec) -> KeyAlgorithm:
    declared = _declared_key(spec)
    return declared if declared.type in (KeyType.RSA, KeyType.EC) else get_key_algorithm("ec-p256")


def _has_signed_profiles(c: Connection, row: AuthorityRow, spec: AuthoritySpec) -> bool:
    """The first is made when a profile is; most authorities never need one."""
    issuer_id = row.current_issuer_id
    known = service_certificates.list_service_certificates(c, issuer_id) if issuer_id is not None else []
    return any(one.purpose == PROFILE for one in known)


PURPOSES: Final[Mapping[str, Purpose]] = MappingProxyType(
    {
        purpose.name: purpose
        for purpose in (
            Purpose(OCSP, "OCSP Responder", _declared_key, lambda c, row, spec: True),
            Purpose(TSA, "Timestamping", _declared_key, lambda c, row, spec: spec.timestamp.enabled),
            Purpose(SCEP_RA, "SCEP RA", _key_that_deciphers, _has_scep),
            Purpose(PROFILE, "Profile Signing", _key_that_apple_knows, _has_signed_profiles),
        )
    }
)


def get_purpose(name: str) -> Purpose:
    """Raises Refused."""
    found = PURPOSES.get(name)
    if found is None:
        raise Refused(f"no service certificate has purpose {name!r}", f"Use one of {', '.join(PURPOSES)}")
    return found
