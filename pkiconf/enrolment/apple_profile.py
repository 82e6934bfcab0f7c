"""A configuration profile for Apple's devices: the authority's certificates, and how to enrol over SCEP.

The keys are those of Apple's documentation of `Configuration`, `com.apple.security.root`, `com.apple.security.pkcs1`
and `com.apple.security.scep`. Identifiers come out the same each time, so that a profile that is installed again
replaces the one before; what makes a device enrol anew is the UUID of its SCEP payload, which a request has of its own.
"""

from __future__ import annotations

import hashlib
import ipaddress
import plistlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.names import encode_name, general_name_text, name_text, parse_name
from pkiconf.enrolment.expressible import alternative_names
from pkiconf.errors import Refused
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.secret import Secret

MEDIA_TYPE: Final = "application/x-apple-aspen-config"

_ORGANIZATION: Final = "2.5.4.10"
_SHORT: Final = {
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    _ORGANIZATION: "O",
    "2.5.4.11": "OU",
    COMMON_NAME: "CN",
}
_RETRIES: Final = 10
_RETRY_DELAY: Final = 30  # seconds; for templates whose requests wait for a person

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """`base` is the URL under which this PKI enrols, `scep_url` below it; `authority` and `template` are slugs. `path`
    is the authority's own certificate and everything above it, nearest first, the root included."""

    request_id: int
    base: str
    scep_url: str
    authority: str
    template: str
    subject: Name
    sans: tuple[GeneralName, ...]
    challenge: Secret
    key_size: int
    key_usage: int
    path: tuple[bytes, ...]


def encode_profile(facts: ProfileFacts) -> bytes:
    """An XML property list, unsigned. Raises Refused for names that no profile can hold."""
    space = uuid5(NAMESPACE_URL, facts.base)
    identifier = profile_identifier(facts)
    certificates = tuple(parse_certificate(der) for der in facts.path)
    holder = _title(facts.subject)
    profile: Payload = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": _uuid(space, f"profile/{facts.request_id}"),
        "PayloadDisplayName": f"Certificate of {holder}",
        "PayloadDescription": f"Gets a certificate for {holder} from {_title(parse_name(certificates[0].subject))}.",
        **_organization(certificates[0]),
        "PayloadContent": [
            *(_certificate(space, identifier, certificate) for certificate in reversed(certificates)),
            _scep(space, identifier, facts),
        ],
    }
    try:
        return plistlib.dumps(profile, fmt=plistlib.FMT_XML)
    except ValueError as ex:  # characters that XML cannot hold
        raise Refused("the names hold characters that no profile can", "Leave control characters out") from ex


def profile_identifier(facts: ProfileFacts) -> str:
    """The same for the same names, so that a later certificate for them takes the place of the one before."""
    names = encode_name(facts.subject) + "\n".join(sorted(map(general_name_text, facts.sans))).encode()
    return ".".join(
        (*_reversed_host(facts.base), facts.authority, facts.template, hashlib.sha256(names).hexdigest()[:16])
    )


def _scep(space: UUID, identifier: str, facts: ProfileFacts) -> Payload:
    names = alternative_names(facts.sans)
    content: Payload = {
        "URL": facts.scep_url,
        "Name": facts.authority,
        "Subject": [[[_SHORT.get(a.oid, a.oid), a.value] for a in rdn] for rdn in facts.subject.rdns],
        **({"SubjectAltName": names} if names else {}),
        "Challenge": facts.challenge.reveal().decode(),
        "Keysize": facts.key_size,
        "Key Type": "RSA",
        **({"Key Usage": facts.key_usage} if facts.key_usage else {}),
        # Whose certificate the device asks has to be this one, also where SCEP is spoken over plain HTTP. It compares
        # SHA-1; what would have to be found is a second certificate for a given digest, which SHA-1 still withstands.
        "CAFingerprint": hashlib.sha1(facts.path[0], usedforsecurity=False).digest(),
        "Retries": _RETRIES,
        "RetryDelay": _RETRY_DELAY,
        "KeyIsExtractable": False,
        "AllowAllAppsAccess": False,
    }
    return {
        "PayloadType": "com.apple.security.scep",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.scep",
        "PayloadUUID": _uuid(space, f"scep/{facts.request_id}"),
        "PayloadDisplayName": f"Certificate of {_title(facts.subject)}",
        "PayloadContent": content,
    }


def _certificate(space: UUID, identifier: str, certificate: Certificate) -> Payload:
    digest = hashlib.sha256(certificate.der).hexdigest()
    kind = "root" if certificate.issuer == certificate.subject else "pkcs1"
    return {
        "PayloadType": f"com.apple.security.{kind}",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.{kind}.{digest[:16]}",
        "PayloadUUID": _uuid(space, f"certificate/{digest}"),
        "PayloadDisplayName": _title(parse_name(certificate.subject)),
        "PayloadCertificateFileName": f"{digest[:16]}.cer",
        "PayloadContent": certificate.der,
    }


def _organization(certificate: Certificate) -> Payload:
    values = parse_name(certificate.subject).values(_ORGANIZATION)
    return {"PayloadOrganization": values[0]} if values else {}


def _title(name: Name) -> str:
    return next(iter(name.values(COMMON_NAME)), "") or name_text(name)


def _uuid(space: UUID, what: str) -> str:
    return str(uuid5(space, what)).upper()


def _reversed_host(base: str) -> Iterable[str]:
    """`https://pki.corp.example` as identifiers have it: example, corp, pki."""
    host = urlsplit(base).hostname or "pkiconf"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return reversed(host.split("."))
    return ("pkiconf", host.replace(".", "-").replace(":", "-"))
