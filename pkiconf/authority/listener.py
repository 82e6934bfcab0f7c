"""The certificate that the PKI issues to its own TLS listener.

Key and chain lie in one file of the state folder, replaced as a whole: a server that reads it for each connection
never sees one without the other.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.extensions import parse_subject_alternative_names
from pkiconf.der.keys import parse_public_key
from pkiconf.der.names import general_name_text
from pkiconf.der.oids import SUBJECT_ALTERNATIVE_NAME
from pkiconf.der.pem import pem_decode_all, pem_encode
from pkiconf.der.pkcs8 import parse_private_key, spki_of
from pkiconf.errors import Malformed, PkiconfError, Refused, SigningUnavailable
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import current_issuer, find_template, template_address
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.keys import get_key_algorithm
from pkiconf.model.names import DNSName, GeneralName, IPAddress, Name
from pkiconf.model.request import Issued, Pending, Rejected, Wanted
from pkiconf.signing.local import generate
from pkiconf.signing.private_file import alone_with, replace_private_file
from pkiconf.store import certificates
from pkiconf.store.database import Connection

FILE: Final = "listener.pem"
ORIGIN: Final = "listener"

_FIRST_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class ListenerOrigin:
    """Nothing stands behind such a certificate but the file it goes to."""

    def completed(self, c: Connection, origin_id: str, certificate: object, der: bytes) -> None: ...

    def given_back(self, c: Connection, origin_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class ListenerCertificates:
    parts: Parts
    pipeline: Pipeline

    @property
    def path(self) -> Path:
        return self.parts.state / FILE

    def ensure(self, template: str, names: Sequence[str]) -> Path:
        """The file with key and chain, made anew when it is missing or damaged, past two thirds of its life, for other
        names, revoked, or another installation's.

        Raises NotFound, Refused (the template does not allow it), Malformed (no names), SigningUnavailable.
        """
        if not names:
            raise Malformed("the TLS listener has no names", "Set --tls-names, such as pki.corp.example,192.0.2.1")
        wanted = tuple(_general_name(name) for name in names)
        if not self._is_good(wanted):
            self._issue(template, wanted)
        return self.path

    def _is_good(self, wanted: tuple[GeneralName, ...]) -> bool:
        try:
            data = self.path.read_bytes()
            present = parse_certificate(pem_decode_all(data, "CERTIFICATE")[0])
            if spki_of(parse_private_key(data[: data.index(_FIRST_CERTIFICATE)], None)) != present.spki:
                return False
        except (OSError, ValueError, IndexError, PkiconfError):
            return False
        renew_at = present.not_after - (present.not_after - present.not_before) / 3
        return (
            present.not_before <= self.parts.now() < renew_at
            and _names(present) == {general_name_text(name) for name in wanted}
            and self.parts.db.read(lambda c: _is_ours_and_good(c, present))
        )

    def _issue(self, template: str, names: tuple[GeneralName, ...]) -> None:
        pkcs8, spki = generate(get_key_algorithm("ec-p256"))

        def look_up(c: Connection) -> tuple[int, int, str]:
            row = find_template(c, template)
            return row.id, current_issuer(c, row.id), template_address(c, row.id)

        template_id, issuer_id, address = self.parts.db.read(look_up)
        wanted = Wanted(Name(), spki, parse_public_key(spki), names)
        origin = hashlib.sha256(spki).hexdigest()
        outcome = self.pipeline.issue(
            IssuanceOrder(issuer_id, template_id, wanted, ORIGIN, origin, f"template/{address}", SYSTEM)
        )
        match outcome:
            case Rejected(reason):
                raise Refused(f"template {address!r} does not allow the TLS listener's certificate: {reason}")
            case Pending():
                raise SigningUnavailable(f"the key behind template {address!r} has not answered yet")
            case Issued():
                text = pem_encode("PRIVATE KEY", pkcs8)
                text += "".join(pem_encode("CERTIFICATE", der) for der in (outcome.der, *outcome.chain))
                with alone_with(self.path):
                    replace_private_file(self.path, text.encode())


def _is_ours_and_good(c: Connection, certificate: Certificate) -> bool:
    origin = hashlib.sha256(certificate.spki).hexdigest()
    row = certificates.find_by_origin(c, ORIGIN, origin)
    return row is not None and row.status == CertificateStatus.GOOD


def _names(certificate: Certificate) -> set[str]:
    extension = certificate.extension(SUBJECT_ALTERNATIVE_NAME)
    return (
        {general_name_text(name) for name in parse_subject_alternative_names(extension.value)} if extension else set()
    )


def _general_name(text: str) -> GeneralName:
    try:
        return IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return DNSName(text)
