"""GetCACaps, GetCACert and GetNextCACert (RFC 8894 §3.5, §4.2, §4.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkiconf.authority.purposes import SCEP_RA
from pkiconf.authority.service_certificates import ServiceCertificates
from pkiconf.clock import to_epoch
from pkiconf.der import oids
from pkiconf.der.certificate_head import parse_head
from pkiconf.der.cms import verify_rsa
from pkiconf.der.pkcs7 import encode_certs_only
from pkiconf.der.scep import encode_bag
from pkiconf.der.signed_data import (
    SHA256,
    SignerIdentity,
    assemble_signed_data,
    content_type,
    encode_certificates,
    encode_cms_algorithm,
    encode_signed_attributes,
    encode_signer_info,
    message_digest,
    signing_time,
)
from pkiconf.errors import NotFound, SigningUnavailable
from pkiconf.issuance.issuer import path_to_root
from pkiconf.issuance.parts import Parts
from pkiconf.model.cms import Digest
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.scep.places import Place
from pkiconf.scep.recipients import Candidate, Recipient, list_candidates, open_recipient
from pkiconf.store.database import Connection
from pkiconf.store.epochs import Stamp, get_stamp

# strongSwan takes AES only where SHA-384 stands beside it, iOS a list only that has a SHA, older devices need 3DES.
_CAPABILITIES: Final = (
    "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-384", "SHA-512", "AES", "DES3", "SCEPStandard",
)  # fmt: skip
_LEGACY: Final = frozenset({"SHA-1", "DES3"})
_RSA: Final = encode_cms_algorithm(SIGNATURE_ALGORITHMS["sha256WithRSAEncryption"])


@dataclass(frozen=True, slots=True)
class CACertificates:
    """`der` is one certificate where `is_bag` is false."""

    der: bytes
    is_bag: bool


class AuthorityCertificates:
    def __init__(self, parts: Parts, services: ServiceCertificates) -> None:
        self._parts = parts
        self._services = services

    def capabilities(self, place: Place) -> str:
        """One a line, with a line feed behind each."""
        words = [word for word in _CAPABILITIES if place.spec.legacy or word not in _LEGACY]
        if not place.spec.renewal.enabled:
            words.remove("Renewal")
        if place.previous is not None:
            words.append("GetNextCACert")
        return "".join(f"{word}\n" for word in words)

    def current(self, place: Place) -> CACertificates:
        """Whom to encrypt to and what its path is made of. Raises SigningUnavailable."""
        first = place.presented(self._parts.now()).head.der
        if first == place.path[0]:
            return CACertificates(first, is_bag=False)
        path = place.path
        if place.spec.strip_root:
            # Never the issuing authority itself, which clients look for.
            path = (path[0], *(der for der in path[1:] if not parse_head(der).is_self_issued))
        return CACertificates(encode_bag((first, *path)), is_bag=True)

    def next(self, place: Place) -> bytes:
        """For those who know the generation before: the certificates of the present one, signed by what the one before
        vouches for (§4.7.1). Raises NotFound when no rollover is under way; SigningUnavailable."""
        if place.previous is None:
            raise NotFound("there is no next CA certificate: no rollover is under way")
        previous = place.previous
        signer = self._signer_of(place, previous)
        path = self._parts.db.read(lambda c: path_to_root(c, place.issuer_id))
        content = encode_certs_only((place.presented(self._parts.now()).head.der, *path))
        attributes = (
            content_type(oids.PKCS7_DATA),
            message_digest(SHA256.digest(content)),
            signing_time(self._parts.now()),
        )
        signed = encode_signed_attributes(attributes)
        signature = signer.key.sign_rsa(signed, Digest.SHA256)
        verify_rsa(signer.head.spki, Digest.SHA256, signed, signature)
        identity = SignerIdentity(signer.head.issuer_and_serial.encode(), SHA256, _RSA)
        info = encode_signer_info(identity, signed, signature)
        old_path = self._parts.db.read(lambda c: path_to_root(c, previous))
        certificates = encode_certificates((signer.head.der, *old_path))
        return assemble_signed_data(oids.PKCS7_DATA, content, ((identity, info),), certificates)

    def _signer_of(self, place: Place, issuer_id: int) -> Recipient:
        now = to_epoch(self._parts.now())

        def find(c: Connection) -> tuple[list[Candidate], Stamp]:
            found = list_candidates(c, place.stamp.authority_id, issuer_id)
            mine = [one for one in found if one.issuer_id == issuer_id and now < one.until]
            return mine, get_stamp(c, issuer_id)

        found, stamp = self._parts.db.read(find)
        if not found:
            self._services.get(issuer_id, SCEP_RA, stamp)
            found, _ = self._parts.db.read(find)
        if not found:
            raise SigningUnavailable(
                f"the generation before the present one of {place.address} has no key to sign with"
            )
        return open_recipient(self._parts, found[0])
