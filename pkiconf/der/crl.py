"""Certificate revocation lists (RFC 5280 §5).

Entries travel as raw octets: a list of a million certificates is one concatenation, never a million objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.der import oids
from pkiconf.der.algorithms import encode_algorithm, parse_algorithm
from pkiconf.der.extension_list import encode_extension, encode_extensions, parse_extensions
from pkiconf.der.extension_values import parse_issuing_distribution_point
from pkiconf.der.extensions import distribution_point_name
from pkiconf.der.reader import Reader, iterate_elements, parse_bit_string, parse_integer, unwrap
from pkiconf.der.times import (
    GENERALIZED_TIME,
    UTC_TIME,
    encode_epoch,
    encode_generalized_time,
    encode_time,
    parse_time,
)
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
from pkiconf.model.revocation import RevocationReason, RevokedEntry

_ENUMERATED: Final = 0x0A
_EXTENSIONS: Final = CONTEXT | CONSTRUCTED | 0
_VERSION_2: Final = b"\x02\x01\x01"
_REMOVE_FROM_CRL: Final = 8
_USUAL_SERIAL: Final = 19
_MOST_ENDINGS: Final = 65536


def _reason_extension(reason: RevocationReason) -> bytes:
    # RFC 5280 §5.3.1: unspecified is said by leaving the extension out.
    if reason is RevocationReason.UNSPECIFIED:
        return b""
    return encode_extension(Extension(oids.CRL_REASON, False, encode_tlv(_ENUMERATED, bytes((reason.code,)))))


_REASONS: Final = {reason: _reason_extension(reason) for reason in RevocationReason}
_REMOVAL: Final = encode_sequence(
    (encode_extension(Extension(oids.CRL_REASON, False, bytes((_ENUMERATED, 1, _REMOVE_FROM_CRL)))),)
)
# crlEntryExtensions with nothing but the reason: all that most entries have.
_REASONS_ALONE: Final = {reason: encode_sequence((der,)) if der else b"" for reason, der in _REASONS.items()}


def encode_crl_entry(
    serial: bytes | int,
    revoked_at: datetime | int,
    reason: RevocationReason = RevocationReason.UNSPECIFIED,
    invalidity_date: datetime | None = None,
) -> bytes:
    """One member of revokedCertificates. `serial` is a number or its big-endian octets without a sign octet,
    `revoked_at` a time or seconds since 1970.

    Raises ValueError for a negative serial, one of more than 20 octets, or a naive datetime.
    """
    number = int.from_bytes(serial, "big") if isinstance(serial, bytes) else serial
    size = number.bit_length() // 8 + 1  # one octet more where the top bit would read as a sign
    if number < 0 or number.bit_length() > 160:
        raise ValueError("a serial number is not negative and has at most 20 octets")
    extensions = _REASONS_ALONE[reason] if invalidity_date is None else _entry_extensions(reason, invalidity_date)
    moment = encode_epoch(revoked_at) if isinstance(revoked_at, int) else encode_time(revoked_at)
    body = b"\x02%c%b%b%b" % (size, number.to_bytes(size, "big"), moment, extensions)
    return b"\x30%c%b" % (len(body), body)  # at most 23 + 17 + 40 octets: the length fits one


_BY_CODE: Final = {reason.code: reason for reason in RevocationReason} | {None: RevocationReason.UNSPECIFIED}
Line = tuple[bytes, int, int | None, int | None]
"""Of a CRL: serial number as octets, seconds since 1970, CRLReason code, invalidity date in seconds since 1970."""


def encode_crl_entries(lines: Iterable[Line]) -> list[bytes]:
    """What `encode_crl_entry` makes of each, in a quarter of the time: in a list of a million, nearly all have serials
    of one length, and what follows the serial is the same for many. Raises ValueError for a reason there is not."""
    made: list[bytes] = []
    add, endings = made.append, dict[tuple[int, int | None], tuple[bytes, bytes]]()
    for serial, revoked_at, reason, invalidity_at in lines:
        if len(serial) != _USUAL_SERIAL or not 0 < serial[0] < 0x80 or invalidity_at is not None:
            add(_unusual_entry(serial, revoked_at, reason, invalidity_at))
            continue
        around = endings.get((revoked_at, reason))
        if around is None:
            if len(endings) >= _MOST_ENDINGS:
                endings.clear()
            around = endings[revoked_at, reason] = _around_serial(revoked_at, reason)
        add(around[0] + serial + around[1])
    return made


def _unusual_entry(serial: bytes, revoked_at: int, reason: int | None, invalidity_at: int | None) -> bytes:
    invalidity_date = None if invalidity_at is None else datetime.fromtimestamp(invalidity_at, UTC)
    return encode_crl_entry(serial, revoked_at, _reason(reason), invalidity_date)


def _around_serial(revoked_at: int, reason: int | None) -> tuple[bytes, bytes]:
    """What stands before and behind a serial number of 19 octets."""
    ending = encode_epoch(revoked_at) + _REASONS_ALONE[_reason(reason)]
    return b"\x30%c\x02%c" % (2 + _USUAL_SERIAL + len(ending), _USUAL_SERIAL), ending


def _reason(code: int | None) -> RevocationReason:
    try:
        return _BY_CODE[code]
    except KeyError:
        raise ValueError(f"no revocation reason has code {code}") from None


def encode_removal(serial: bytes | int, revoked_at: int) -> bytes:
    """A line of a delta CRL that takes a certificate off the list (§5.3.1): it was on hold, and no longer is."""
    plain = encode_crl_entry(serial, revoked_at)
    return encode_sequence((plain[2:], _REMOVAL))


def _entry_extensions(reason: RevocationReason, invalidity_date: datetime) -> bytes:
    # RFC 5280 §5.3.2: the invalidity date is always GeneralizedTime.
    date = Extension(oids.INVALIDITY_DATE, False, encode_generalized_time(invalidity_date))
    return encode_sequence((_REASONS[reason], encode_extension(date)))


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
        return iterate_elements(self.raw_entries, "the CRL")

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


def serial_of_entry(entry: bytes) -> bytes:
    """The serial number of one of our own entries: octets, without a sign octet."""
    return entry[4 : 4 + entry[3]].lstrip(b"\0") or b"\0"


def parse_crl_entry(der: bytes, in_delta: bool = False) -> RevokedEntry:
    """One line of a CRL. Raises Malformed, for removeFromCRL too unless it stands on a delta CRL."""
    reader = Reader.over(der, "a CRL entry")
    serial_number = parse_integer(reader.take(INTEGER), "the serial number of a CRL entry")
    if serial_number < 0 or serial_number.bit_length() > 160:
        raise Malformed("a CRL entry has a serial number that is negative or has more than 20 octets")
    revoked_at = parse_time(reader.take(UTC_TIME, GENERALIZED_TIME), "a CRL entry")
    listed = reader.take_optional(SEQUENCE)
    reader.close()
    reason, invalidity_date, removed = RevocationReason.UNSPECIFIED, None, False
    for extension in parse_extensions(listed, "a CRL entry") if listed else ():
        if extension.oid == oids.CRL_REASON:
            removed = in_delta and extension.value == bytes((_ENUMERATED, 1, _REMOVE_FROM_CRL))
            reason = reason if removed else _parse_reason(extension.value)
        elif extension.oid == oids.INVALIDITY_DATE:
            invalidity_date = parse_time(read_element(extension.value, "an invalidity date"), "an invalidity date")
        elif extension.critical:
            # certificateIssuer makes the entry another CA's: reading on would revoke the wrong certificate.
            raise Malformed(f"a CRL entry has the critical extension {extension.oid}, which is not understood")
    return RevokedEntry(serial_number, revoked_at, reason, invalidity_date, removed)


def _parse_reason(value: bytes) -> RevocationReason:
    code = read_element(value, "a CRL reason", _ENUMERATED).content
    if code == bytes((_REMOVE_FROM_CRL,)):
        raise Malformed("a CRL entry says removeFromCRL", "It belongs on delta CRLs only; give the full CRL")
    try:
        return RevocationReason.from_code(int.from_bytes(code, "big"))
    except ValueError:
        raise Malformed(f"a CRL entry has the reason 0x{code.hex()}, which RFC 5280 does not know") from None
