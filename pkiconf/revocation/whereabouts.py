"""Where to ask about what this installation issued: the issuer's certificate, and the URLs it gave out."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.extensions import parse_authority_information_access, parse_authority_key_identifier
from pkiconf.der.keys import key_bits
from pkiconf.der.oids import AUTHORITY_INFORMATION_ACCESS, AUTHORITY_KEY_IDENTIFIER
from pkiconf.errors import Conflict, NotFound
from pkiconf.issuance.issuer import authority_spec, authority_urls, load_settings
from pkiconf.issuance.parts import Parts
from pkiconf.store import authorities
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """`slug` is the authority's in URLs."""

    issuer_id: int
    authority: str
    slug: str
    generation: int
    issuer: Certificate
    ocsp_url: str
    crl_url: str


@dataclass(frozen=True, slots=True)
class WhereaboutsLookup:
    parts: Parts

    def of_authority(self, name: str, generation: int | None = None) -> Whereabouts:
        """Of its current generation, or of another. Raises NotFound; Conflict while it has no certificate."""

        def read(c: Connection) -> Whereabouts:
            row = authorities.get_authority_by_name(c, name)
            issuer_id = row.current_issuer_id
            if generation is not None:
                found = authorities.find_issuer_by_generation(c, row.id, generation)
                if found is None:
                    raise NotFound(
                        f"authority {name!r} has no generation {generation}", f"See `pkiconf authority show {name}`"
                    )
                issuer_id = found.id
            if issuer_id is None:
                raise Conflict(f"authority {name!r} has no certificate yet", f"See `pkiconf authority show {name}`")
            return _whereabouts(c, issuer_id)

        return self.parts.db.read(read)

    def of_issuer(self, issuer_id: int) -> Whereabouts:
        """Raises NotFound; Conflict while it has no certificate."""
        return self.parts.db.read(lambda c: _whereabouts(c, issuer_id))

    def of_certificate(self, certificate: Certificate) -> Whereabouts | None:
        """Of whichever of our issuers this certificate names by its key identifier; None if it is none of ours."""
        extension = certificate.extension(AUTHORITY_KEY_IDENTIFIER)
        identifier = parse_authority_key_identifier(extension.value) if extension else None
        if identifier is None:
            return None

        def read(c: Connection) -> Whereabouts | None:
            row = authorities.find_issuer_by_ski(c, identifier)
            return _whereabouts(c, row.id) if row is not None and row.subject == certificate.issuer else None

        return self.parts.db.read(read)

    def of_issuer_certificate(self, issuer: Certificate) -> Whereabouts | None:
        """Of the issuer that has this name and key; None if it is none of ours."""
        name_hash, key_hash = sha256(issuer.subject).digest(), sha256(key_bits(issuer.spki)).digest()

        def read(c: Connection) -> Whereabouts | None:
            row = authorities.find_issuer_by_hash(c, "sha256", name_hash, key_hash)
            return _whereabouts(c, row.id) if row is not None else None

        return self.parts.db.read(read)


def ocsp_url_of(certificate: Certificate) -> str | None:
    """The first URL of a responder that a certificate itself names (RFC 5280 §4.2.2.1)."""
    extension = certificate.extension(AUTHORITY_INFORMATION_ACCESS)
    urls = parse_authority_information_access(extension.value).ocsp_urls if extension else ()
    return urls[0] if urls else None


def _whereabouts(c: Connection, issuer_id: int) -> Whereabouts:
    issuer = authorities.get_issuer(c, issuer_id)
    row = authorities.get_authority(c, issuer.authority_id)
    own = authorities.find_ca_certificate(c, issuer_id)
    if own is None:
        raise Conflict(f"generation {issuer.generation} of authority {row.name!r} has no certificate yet")
    urls = authority_urls(load_settings(c), authority_spec(row), row.slug, issuer.generation)
    return Whereabouts(
        issuer_id, row.name, row.slug, issuer.generation, parse_certificate(own.der), urls.ocsp, urls.crl
    )
