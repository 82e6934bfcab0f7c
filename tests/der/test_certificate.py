from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.clock import from_epoch
from pkiconf.der import extensions as ext
from pkiconf.der.algorithms import encode_algorithm
from pkiconf.der.certificate import assemble_certificate, encode_tbs_certificate, parse_certificate
from pkiconf.der.names import encode_name
from pkiconf.der.tlv import encode_sequence, encode_tlv, read_sequence
from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm
from pkiconf.model.certificate import Extension, TBSCertificate
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, Hash, KeyType, Padding, SignatureAlgorithm
from pkiconf.model.names import URI, Attribute, DNSName, IPAddress, Name, RFC822Name
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage

ROWS = list(SIGNATURE_ALGORITHMS.values())
HASHES: dict[Hash, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    Hash.SHA256: hashes.SHA256(),
    Hash.SHA384: hashes.SHA384(),
    Hash.SHA512: hashes.SHA512(),
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
LEAF_KEY = ec.derive_private_key(7, ec.SECP256R1())
SPKI = LEAF_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
ISSUER = encode_name(Name(((Attribute("2.5.4.6", "NL"),), (Attribute("2.5.4.3", "Example Root"),))))
SUBJECT = encode_name(Name(((Attribute("2.5.4.3", "web.example"),),)))
START = datetime(2026, 7, 1, 12, 30, 15, tzinfo=UTC)
SKI = bytes(range(20))
EXTENSIONS = (
    ext.basic_constraints(False),
    ext.key_usage([KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_AGREEMENT]),
    ext.extended_key_usage([EXTENDED_KEY_USAGES["serverAuth"]]),
    ext.subject_alternative_names(
        [DNSName("web.example"), IPAddress(ipaddress.ip_address("::1")), RFC822Name("a@web.example"), URI("urn:x:y")]
    ),
    ext.subject_key_identifier(SKI),
    ext.authority_key_identifier(SKI[::-1]),
    ext.authority_information_access(["http://pki.example/ocsp"], ["http://pki.example/ca.crt"]),
    ext.crl_distribution_points(["http://pki.example/ca.crl"]),
)
TBS = TBSCertificate(
    serial_number=0x40 << 144 | 5,
    signature=SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"],
    issuer=ISSUER,
    not_before=START,
    not_after=START + timedelta(days=90),
    subject=SUBJECT,
    spki=SPKI,
    extensions=EXTENSIONS,
)


def key_for(row: SignatureAlgorithm) -> CertificateIssuerPrivateKeyTypes:
    match row.key_type:
        case KeyType.RSA:
            return RSA_KEY
        case KeyType.EC:
            return LEAF_KEY
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyType.ED448:
            return ed448.Ed448PrivateKey.generate()
    if row.key_bits == 44:
        return mldsa.MLDSA44PrivateKey.generate()
    return mldsa.MLDSA65PrivateKey.generate() if row.key_bits == 65 else mldsa.MLDSA87PrivateKey.generate()


def built_by_others(tbs: TBSCertificate) -> x509.Certificate:
    """The same certificate, made with the builder of `cryptography`."""
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name(
            [
                x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "NL"),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, "Example Root"),
            ]
        ),
        subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web.example")]),
        public_key=LEAF_KEY.public_key(),
        serial_number=tbs.serial_number,
        not_valid_before=tbs.not_before,
        not_valid_after=tbs.not_after,
    )
    for extension in tbs.extensions:
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension.oid), extension.value)
        builder = builder.add_extension(value, extension.critical)
    row = tbs.signature
    hash = HASHES[row.hash] if row.hash else None
    pss = padding.PSS(padding.MGF1(hash), hash.digest_size) if hash and row.padding is Padding.PSS else None
    return builder.sign(key_for(row), hash, rsa_padding=pss)


def changed(**fields: object) -> TBSCertificate:
    return dataclasses.replace(TBS, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_octet_is_the_one_that_others_write(row: SignatureAlgorithm) -> None:
    theirs = built_by_others(changed(signature=row))
    ours = encode_tbs_certificate(changed(signature=row))
    assert ours == theirs.tbs_certificate_bytes
    assert assemble_certificate(ours, row, theirs.signature) == theirs.public_bytes(Encoding.DER)


@pytest.mark.parametrize("count", range(len(EXTENSIONS) + 1))
def test_any_number_of_extensions_is_written_as_others_write_it(count: int) -> None:
    tbs = changed(extensions=EXTENSIONS[:count])
    if count:
        assert encode_tbs_certificate(tbs) == built_by_others(tbs).tbs_certificate_bytes
    parsed = parse_certificate(assemble_certificate(encode_tbs_certificate(tbs), TBS.signature, b"\x30\x00"))
    assert parsed.extensions == EXTENSIONS[:count]


@pytest.mark.parametrize("serial_number", [1, 127, 128, 255, 256, (1 << 159) - 1])
def test_serial_numbers_are_written_as_others_write_them(serial_number: int) -> None:
    tbs = changed(serial_number=serial_number)
    assert encode_tbs_certificate(tbs) == built_by_others(tbs).tbs_certificate_bytes


TIMES = [
    datetime(1950, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2050, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", TIMES, ids=str)
def test_times_are_utc_to_2049_and_generalized_from_2050(moment: datetime) -> None:
    tbs = changed(not_before=TIMES[0], not_after=moment)
    encoded = encode_tbs_certificate(tbs)
    assert encoded == built_by_others(tbs).tbs_certificate_bytes
    text = moment.strftime("%y%m%d%H%M%SZ" if moment.year < 2050 else "%Y%m%d%H%M%SZ").encode()
    assert encode_tlv(0x17 if moment.year < 2050 else 0x18, text) in encoded
    parsed = parse_certificate(assemble_certificate(encoded, TBS.signature, b""))
    assert (parsed.not_before, parsed.not_after) == (TIMES[0], moment)


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    eastern = timezone(timedelta(hours=-5))
    moment = datetime(2049, 12, 31, 20, 0, tzinfo=eastern)  # already 2050 in UTC
    assert encode_tbs_certificate(changed(not_after=moment)) == encode_tbs_certificate(
        changed(not_after=moment.astimezone(UTC))
    )


def test_a_parsed_certificate_holds_every_part_byte_for_byte() -> None:
    theirs = built_by_others(TBS)
    der = theirs.public_bytes(Encoding.DER)
    parsed = parse_certificate(der)
    assert (parsed.der, parsed.tbs, parsed.signature) == (der, theirs.tbs_certificate_bytes, theirs.signature)
    assert (parsed.issuer, parsed.subject, parsed.spki) == (ISSUER, SUBJECT, SPKI)
    assert (parsed.serial_number, parsed.algorithm) == (TBS.serial_number, TBS.signature)
    assert (parsed.not_before, parsed.not_after) == (TBS.not_before, TBS.not_after)
    assert parsed.extensions == EXTENSIONS
    assert parsed.extension("2.5.29.14") == EXTENSIONS[4]
    assert parsed.extension("1.2.3") is None


def test_oddly_encoded_parts_are_copied_byte_for_byte() -> None:
    teletex = encode_sequence(
        [encode_tlv(0x31, encode_sequence([b"\x06\x03\x55\x04\x03", encode_tlv(20, b"caf\xe9")]))]
    )
    strange = encode_sequence([encode_sequence([b"\x06\x01\x2a"]), b"\x03\x02\x07\x80"])
    encoded = encode_tbs_certificate(changed(issuer=teletex, subject=teletex, spki=strange))
    parsed = parse_certificate(assemble_certificate(encoded, TBS.signature, b""))
    assert (parsed.issuer, parsed.subject, parsed.spki) == (teletex, teletex, strange)


@pytest.mark.parametrize(
    "fields",
    [
        {"serial_number": 0},
        {"serial_number": -1},
        {"serial_number": 1 << 159},
        {"not_before": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"not_after": datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)},
        {"not_before": datetime(1949, 12, 31, 23, 59, 59, tzinfo=UTC)},
        {"extensions": EXTENSIONS + EXTENSIONS[:1]},
        {"extensions": (Extension("1.2.3", False, b"\x05\x00"), Extension("1.2.3", True, b"\x05\x00"))},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_a_certificate_must_not_hold_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(Refused):
        encode_tbs_certificate(changed(**fields))


@pytest.mark.parametrize("part", ["issuer", "subject", "spki"])
@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x00\x00", b"\x30\x80\x00\x00", b"\x30\x81\x00"], ids=bytes.hex)
def test_parts_that_are_not_one_der_element_are_malformed(part: str, der: bytes) -> None:
    with pytest.raises(Malformed):
        encode_tbs_certificate(changed(**{part: der}))


def test_an_extension_with_another_spelling_of_its_oid_is_malformed() -> None:
    with pytest.raises(Malformed):
        encode_tbs_certificate(changed(extensions=(Extension("2.5.29.017", False, b""),)))


def test_a_tbs_that_is_not_one_der_element_is_not_assembled() -> None:
    for tbs in (b"", b"\x30", encode_tbs_certificate(TBS) + b"\x00"):
        with pytest.raises(Malformed):
            assemble_certificate(tbs, TBS.signature, b"")


FIELDS = [member.der for member in read_sequence(encode_tbs_certificate(TBS), "a TBSCertificate")]
VERSION, SERIAL, ALGORITHM, ISSUER_FIELD, VALIDITY, SUBJECT_FIELD, SPKI_FIELD, EXTENSION_FIELD = range(8)


def with_field(number: int, *replacement: bytes, algorithm: bytes = encode_algorithm(TBS.signature)) -> bytes:
    """A certificate with one field of its TBSCertificate replaced, left out or doubled."""
    tbs = encode_sequence([*FIELDS[:number], *replacement, *FIELDS[number + 1 :]])
    return encode_sequence([tbs, algorithm, b"\x03\x03\x00\x30\x00"])


def extension_field(*members: bytes) -> bytes:
    return encode_tlv(0xA3, encode_sequence(members))


def validity(start: bytes, end: bytes) -> bytes:
    return encode_sequence([start, end])


UTC_NOW = encode_tlv(0x17, b"260101000000Z")
ONE = encode_sequence([b"\x06\x01\x2a", b"\x04\x02\x05\x00"])
GOOD = with_field(SERIAL, FIELDS[SERIAL])
CERTIFICATE_PARTS = [member.der for member in read_sequence(GOOD, "a certificate")]

MALFORMED = {
    "empty": b"",
    "trailing octet": GOOD + b"\x00",
    "cut off": GOOD[:-1],
    "indefinite length": b"\x30\x80" + GOOD[4:] + b"\x00\x00",
    "length not shortest": b"\x30\x83\x00" + GOOD[2:],
    "a set": b"\x31" + GOOD[1:],
    "no signature": encode_sequence(CERTIFICATE_PARTS[:2]),
    "signature with unused bits": encode_sequence([*CERTIFICATE_PARTS[:2], b"\x03\x02\x07\x80"]),
    "a fourth part": encode_sequence([*CERTIFICATE_PARTS, b"\x05\x00"]),
    "two algorithms": with_field(ALGORITHM, encode_algorithm(SIGNATURE_ALGORITHMS["Ed25519"])),
    "version 4": with_field(VERSION, encode_tlv(0xA0, b"\x02\x01\x03")),
    "version of 9000 octets": with_field(VERSION, encode_tlv(0xA0, encode_tlv(0x02, b"\x7f" * 9000))),
    "version -1": with_field(VERSION, encode_tlv(0xA0, b"\x02\x01\xff")),
    "version 1 written out": with_field(VERSION, encode_tlv(0xA0, b"\x02\x01\x00")),
    "version 1 with extensions": with_field(VERSION),
    "version 2 with extensions": with_field(VERSION, encode_tlv(0xA0, b"\x02\x01\x01")),
    "serial number negative": with_field(SERIAL, b"\x02\x01\xff"),
    "serial number of 21 octets": with_field(SERIAL, b"\x02\x15\x00\x80" + bytes(19)),
    "serial number of 9000 octets": with_field(SERIAL, encode_tlv(0x02, b"\x7f" * 9000)),
    "serial number not shortest": with_field(SERIAL, b"\x02\x02\x00\x01"),
    "serial number empty": with_field(SERIAL, b"\x02\x00"),
    "no serial number": with_field(SERIAL),
    "time without seconds": with_field(VALIDITY, validity(encode_tlv(0x17, b"2601010000Z"), UTC_NOW)),
    "time with an offset": with_field(VALIDITY, validity(encode_tlv(0x17, b"260101000000+0100"), UTC_NOW)),
    "time of no day": with_field(VALIDITY, validity(encode_tlv(0x17, b"260230000000Z"), UTC_NOW)),
    "time of no zone": with_field(VALIDITY, validity(encode_tlv(0x17, b"260101000000"), UTC_NOW)),
    "fraction of a second": with_field(VALIDITY, validity(UTC_NOW, encode_tlv(0x18, b"20500101000000.5Z"))),
    "generalized before 2050": with_field(VALIDITY, validity(UTC_NOW, encode_tlv(0x18, b"20491231235959Z"))),
    "one time only": with_field(VALIDITY, encode_sequence([UTC_NOW])),
    "extensions empty": with_field(EXTENSION_FIELD, extension_field()),
    "extension twice": with_field(EXTENSION_FIELD, extension_field(ONE, ONE)),
    "critical FALSE written out": with_field(
        EXTENSION_FIELD, extension_field(encode_sequence([b"\x06\x01\x2a", b"\x01\x01\x00", b"\x04\x00"]))
    ),
    "critical neither": with_field(
        EXTENSION_FIELD, extension_field(encode_sequence([b"\x06\x01\x2a", b"\x01\x01\x01", b"\x04\x00"]))
    ),
    "extension without value": with_field(EXTENSION_FIELD, extension_field(encode_sequence([b"\x06\x01\x2a"]))),
    "extensions twice": with_field(EXTENSION_FIELD, FIELDS[EXTENSION_FIELD], FIELDS[EXTENSION_FIELD]),
    "a field behind": with_field(EXTENSION_FIELD, FIELDS[EXTENSION_FIELD], b"\x05\x00"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_certificate_is_malformed(name: str) -> None:
    parse_certificate(GOOD)
    with pytest.raises(Malformed):
        parse_certificate(MALFORMED[name])


def test_a_signature_algorithm_that_is_not_ours_is_named() -> None:
    sha1 = bytes.fromhex("300d06092a864886f70d0101050500")
    with pytest.raises(UnsupportedAlgorithm, match="SHA-1"):
        parse_certificate(with_field(ALGORITHM, sha1, algorithm=sha1))


def test_old_forms_of_foreign_roots_are_read() -> None:
    version_1 = encode_sequence(FIELDS[SERIAL:EXTENSION_FIELD])
    assert parse_certificate(encode_sequence([version_1, *CERTIFICATE_PARTS[1:]])).extensions == ()
    identifiers = (b"\x81\x02\x07\x80", b"\x82\x02\x00\x01", FIELDS[EXTENSION_FIELD])
    assert parse_certificate(with_field(EXTENSION_FIELD, *identifiers)).extensions == EXTENSIONS
    assert parse_certificate(with_field(SERIAL, b"\x02\x01\x00")).serial_number == 0


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    for der in (data, encode_sequence([data]), encode_sequence([encode_sequence([data]), *CERTIFICATE_PARTS[1:]])):
        with pytest.raises((Malformed, UnsupportedAlgorithm)):
            parse_certificate(der)


@given(st.data())
def test_a_changed_or_cut_certificate_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed, UnsupportedAlgorithm):
        parse_certificate(bytes(octets))
    with pytest.raises((Malformed, UnsupportedAlgorithm)):
        parse_certificate(GOOD[: data.draw(st.integers(0, len(GOOD) - 1))])


MOMENTS = st.integers(int(TIMES[0].timestamp()), int(TIMES[-1].timestamp())).map(from_epoch)


@given(st.integers(1, (1 << 159) - 1), MOMENTS, st.binary(max_size=80))
def test_any_values_survive(serial_number: int, moment: datetime, value: bytes) -> None:
    extension = Extension("1.2.3.4", True, value)
    tbs = changed(serial_number=serial_number, not_before=moment, not_after=moment, extensions=(extension,))
    parsed = parse_certificate(assemble_certificate(encode_tbs_certificate(tbs), TBS.signature, value))
    assert (parsed.serial_number, parsed.not_before, parsed.not_after) == (serial_number, moment, moment)
    assert (parsed.extensions, parsed.signature) == ((extension,), value)
    assert asn1.encode_der(asn1.decode_der(asn1.TLV, parsed.der)) == parsed.der


def test_encoding_costs_less_than_a_builder_does() -> None:
    """In processor time, side by side; a guard against a slow path, not a measurement."""
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([]),
        subject_name=x509.Name([]),
        public_key=LEAF_KEY.public_key(),
        serial_number=5,
        not_valid_before=START,
        not_valid_after=START,
    )
    for extension in EXTENSIONS:
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension.oid), extension.value)
        builder = builder.add_extension(value, extension.critical)

    def cost(act: Callable[[], object]) -> float:
        runs = []
        for _ in range(5):
            start = time.process_time()
            for _ in range(300):
                act()
            runs.append(time.process_time() - start)
        return min(runs)

    assert cost(lambda: encode_tbs_certificate(TBS)) < cost(lambda: builder.sign(key, None))
