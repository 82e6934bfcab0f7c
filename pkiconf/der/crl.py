"""Certificate revocation lists (RFC 5280 §5).

Entries travel as raw octets: a list of a million certificates is one concatenation, never a million objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.algorithms import encode_algorithm, parse_algorithm
from pkiconf.der.crl_entries import parse_crl_entry, split_entries
from pkiconf.der.extension_list import encode_extensions, parse_extensions
from pkiconf.der.extension_values import parse_issuing_distribution_point
from pkiconf.der.extensions import distribution_point_name
from pkiconf.der.reader import Reader, parse_bit_string, parse_integer, unwrap
from pkiconf.der.times import GENERALIZED_TIME, UTC_TIME, encode_time, parse_time
from pkiconf.der.tlv import (
    BIT_STRING,
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    SEQUENCE,
    encode_sequence,
    encode_tlv,
    read_element,
)
from pkiconf.errors import Malformed
from pkiconf.model.certificate import Extension
from pkiconf.model.keys import SignatureAlgorithm
from pkiconf.model.revocation import RevokedEntry

_EXTENSIONS: Final = CONTEXT | CONSTRUCTED | 0
_VERSION_2: Final = b"\x02\x01\x01"


def encode_tbs_crl(
    issuer: bytes,
    algorithm: SignatureAlgorithm,
    this_update: datetime,
    next_update: datetime,
    number: int,
    authority_key_identifier: bytes,
    entries: Iterable[bytes] | bytes,
    extensions: Sequence[Extension] = (),
) -> bytes:
    """TBSCertList, version 2.

    `issuer` is the DER Name of the CA, copied byte for byte; `entries` are encoded entries, in pieces or already
    joined, in any order; `extensions` come after the two that every CRL has (§5.2.1, §5.2.3).
    Raises ValueError for a number that is negative or above 20 octets, Malformed for an extension given twice.
    """
    if number < 0 or number.bit_length() > 159:
        raise ValueError("a CRL number is not negative and has at most 20 octets")
    joined = entries if isinstance(entries, bytes) else b"".join(entries)
    del entries  # the octets of a million certificates: what is no longer needed is given back at once
    key_identifier = encode_sequence((encode_tlv(CONTEXT | 0, authority_key_identifier),))
    own = (
        Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, key_identifier),
        Extension(oids.CRL_NUMBER, False, asn1.encode_der(number)),
    )
    fields = (
        _VERSION_2,
        encode_algorithm(algorithm),
        issuer,
        encode_time(this_update),
        encode_time(next_update),
        # §5.1.2.6: without revoked certificates the list must be absent, not empty.
        encode_tlv(SEQUENCE, joined) if joined else b"",
        encode_tlv(_EXTENSIONS, encode_extensions((*own, *extensions))),
    )
    return encode_sequence(fields)


def issuing_distribution_point(urls: Sequence[str]) -> Extension:
    """§5.2.5, critical: this list is about the certificates that name one of these URLs, and no others."""
    return Extension(oids.ISSUING_DISTRIBUTION_POINT, True, encode_sequence((distribution_point_name(urls),)))


def delta_crl_indicator(base_number: int) -> Extension:
    """§5.2.4, critical: only what has changed since the CRL of this number."""
    return Extension(oids.DELTA_CRL_INDICATOR, True, asn1.encode_der(base_number))


def assemble_crl(tbs: bytes, algorithm: SignatureAlgorithm, signature: bytes) -> bytes:
    """CertificateList: the signed octets, unchanged, with their signature."""
    return encode_sequence((tbs, encode_algorithm(algorithm), encode_tlv(BIT_STRING, b"\0" + signature)))


@dataclass(frozen=True, slots=True)
class CRL:
    """A CRL taken apart. `issuer` is the DER Name; `number` is None where the extension is absent, as in version 1;
    `raw_entries` is the content of revokedCertificates; `tbs` the octets that were signed."""

    der: bytes = field(repr=False)
    tbs: bytes = field(repr=False)
    algorithm: SignatureAlgorithm
    signature: bytes = field(repr=False)
    issuer: bytes
    this_update: datetime
    next_update: datetime | None
    number: int | None
    extensions: tuple[Extension, ...]
    raw_entries: bytes = field(repr=False)

    @property
    def entries(self) -> Iterator[RevokedEntry]:
        """Each revoked certificate, read when it is asked for. Raises Malformed at one that cannot be read."""
        in_delta = self.is_delta
        return (parse_crl_entry(entry, in_delta) for entry in self.encoded_entries)

    @property
    def encoded_entries(self) -> Iterator[bytes]:
        """Their octets, as they stand. Raises Malformed."""
        return chain.from_iterable(split_entries(self.raw_entries, "the CRL"))

    @property
    def is_delta(self) -> bool:
        """Whether it holds only what has changed since another one."""
        return self.extension(oids.DELTA_CRL_INDICATOR) is not None

    @property
    def base_number(self) -> int | None:
        """Of a delta, the CRL that it begins from. Raises Malformed."""
        found = self.extension(oids.DELTA_CRL_INDICATOR)
        return parse_integer(read_element(found.value, "the base CRL number"), "the base CRL number") if found else None

    @property
    def part_urls(self) -> tuple[str, ...]:
        """Where it is not about all certificates of its issuer: the URLs that those which it is about name. Empty also
        for a distribution point without URLs. Raises Malformed."""
        found = self.extension(oids.ISSUING_DISTRIBUTION_POINT)
        return parse_issuing_distribution_point(found.value) if found else ()

    def extension(self, oid: str) -> Extension | None:
        return next((extension for extension in self.extensions if extension.oid == oid), None)


def parse_crl(der: bytes) -> CRL:
    """Take a DER CertificateList apart. Its signature is not verified here, its entries not yet read.

    Raises Malformed, or UnsupportedAlgorithm for a signature algorithm that is not in the table.
    """
    whole = Reader.over(der, "the CRL")
    tbs, outer, signature = whole.take(SEQUENCE), whole.take(SEQUENCE), whole.take(BIT_STRING)
    whole.close()
    reader = Reader(tbs, "the CRL")
    version = reader.take_optional(INTEGER)
    if version is not None and version.der != _VERSION_2:
        raise Malformed("the CRL has a version that is neither absent nor 2")
    if reader.take(SEQUENCE).der != outer.der:
        raise Malformed("the CRL names one signature algorithm inside and another outside (RFC 5280 §5.1.1.2)")
    issuer = reader.take(SEQUENCE)
    this_update = parse_time(reader.take(UTC_TIME, GENERALIZED_TIME), "the CRL")
    next_update = reader.take_optional(UTC_TIME, GENERALIZED_TIME)
    revoked = reader.take_optional(SEQUENCE)
    wrapped = reader.take_optional(_EXTENSIONS)
    reader.close()
    extensions = parse_extensions(unwrap(wrapped, "the CRL"), "the CRL") if wrapped else ()
    return CRL(
        der=der,
        tbs=tbs.der,
        algorithm=parse_algorithm(outer.der),
        signature=parse_bit_string(signature, "the signature of the CRL"),
        issuer=issuer.der,
        this_update=this_update,
        next_update=parse_time(next_update, "the CRL") if next_update else None,
        number=_crl_number(extensions),
        extensions=extensions,
        raw_entries=revoked.content if revoked else b"",
    )


def _crl_number(extensions: Sequence[Extension]) -> int | None:
    for extension in extensions:
        if extension.oid == oids.CRL_NUMBER:
            number = parse_integer(read_element(extension.value, "the CRL number"), "the CRL number")
            if number < 0 or number.bit_length() > 159:
                raise Malformed("the CRL number is negative or has more than 20 octets")
            return number
    return None
