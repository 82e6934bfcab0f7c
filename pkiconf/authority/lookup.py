"""Authorities, for people: their state, certificates and URLs."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.der.pem import pem_encode
from pkiconf.der.pkcs7 import encode_certs_only
from pkiconf.errors import Conflict
from pkiconf.issuance.issuer import AuthorityURLs, authority_spec, authority_urls, load_settings, path_to_root
from pkiconf.issuance.parts import Parts
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.store import authorities
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class AuthorityView:
    """An authority with its generations, newest last; `urls` are those of the one that signs now."""

    row: authorities.AuthorityRow
    spec: AuthoritySpec
    issuers: tuple[authorities.IssuerRow, ...]
    certificates: tuple[authorities.CACertificateRow, ...]
    urls: AuthorityURLs


@dataclass(frozen=True, slots=True)
class AuthorityLookup:
    parts: Parts

    def get(self, name: str) -> AuthorityView:
        """Raises NotFound."""
        return self.parts.db.read(lambda c: _view(c, authorities.get_authority_by_name(c, name)))

    def list(self) -> list[AuthorityView]:
        return self.parts.db.read(lambda c: [_view(c, row) for row in authorities.list_authorities(c)])

    def export(self, name: str, form: str, *, chain: bool = False) -> bytes:
        """The current certificate, and with `chain` everything above it, the root last.

        `form` is pem, der (one certificate) or p7b. Raises NotFound, and Conflict for an authority that has none yet.
        """

        def read(c: Connection) -> tuple[bytes, ...]:
            row = authorities.get_authority_by_name(c, name)
            return path_to_root(c, row.current_issuer_id) if row.current_issuer_id is not None else ()

        path = self.parts.db.read(read)
        if not path:
            raise Conflict(f"authority {name!r} has no certificate yet", f"See `pkiconf authority show {name}`")
        chosen = path if chain else path[:1]
        if form == "p7b":
            return encode_certs_only(chosen)
        if form == "der":
            if chain:
                raise Conflict("DER holds one certificate", "Leave out --chain, or use p7b")
            return chosen[0]
        return "".join(pem_encode("CERTIFICATE", der) for der in chosen).encode()


def _view(c: Connection, row: authorities.AuthorityRow) -> AuthorityView:
    spec = authority_spec(row)
    issuers = tuple(authorities.list_issuers(c, row.id))
    signing = next((issuer.generation for issuer in issuers if issuer.id == row.current_issuer_id), 1)
    certificates = tuple(found for issuer in issuers for found in authorities.list_ca_certificates(c, issuer.id))
    return AuthorityView(row, spec, issuers, certificates, authority_urls(load_settings(c), spec, row.slug, signing))
