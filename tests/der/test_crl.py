from __future__ import annotations

import contextlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.algorithms import encode_algorithm
from pkiconf.der.crl import CRL, assemble_crl, encode_tbs_crl, parse_crl
from pkiconf.der.crl_entries import encode_crl_entries, encode_crl_entry, split_entries
from pkiconf.der.pem import pem_encode
from pkiconf.der.tlv import SEQUENCE, encode_tlv
from pkiconf.errors import Malformed, PkiconfError, UnsupportedAlgorithm
from pkiconf.model.certificate import Extension
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, SignatureAlgorithm
from pkiconf.model.revocation import RevocationReason, RevokedEntry
from tests.keys import ML_DSA_ORACLES, SEED, key_for, sign
from tests.tools import accepted, run_tool
from tests.vectors.construct import extension as raw_extension
from tests.vectors.construct import oid, tlv

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=7)
EARLY = datetime(2020, 1, 1, tzinfo=UTC)
ISSUER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example CA")])
ISSUER = ISSUER_NAME.public_bytes()
ED25519 = SIGNATURE_ALGORITHMS["Ed25519"]
ECDSA = SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]
KEY_ID = bytes(range(20))


def make_crl(
    algorithm: SignatureAlgorithm = ED25519, entries: bytes = b"", number: int = 7, at: datetime = NOW
) -> bytes:
    tbs = encode_tbs_crl(ISSUER, algorithm, at, at + timedelta(days=7), number, KEY_ID, entries)
    return assemble_crl(tbs, algorithm, sign(algorithm, tbs))


def crl_from(*fields: bytes, algorithm: bytes | None = None) -> bytes:
    """A CertificateList of hand-made TBS fields; its signature is not looked at by the parser."""
    return tlv(0x30, tlv(0x30, *fields), algorithm or encode_algorithm(ED25519), tlv(0x03, b"\0", bytes(64)))


INNER = encode_algorithm(ED25519)
THIS_UPDATE = tlv(0x17, b"260301120000Z")
ENTRIES = b"".join(
    (
        encode_crl_entry(5, NOW),
        encode_crl_entry(0x80, NOW, RevocationReason.KEY_COMPROMISE),
        encode_crl_entry(bytes.fromhex("ff" * 20), NOW, RevocationReason.CERTIFICATE_HOLD, NOW - timedelta(days=3)),
        encode_crl_entry(9, datetime(2050, 1, 1, tzinfo=UTC), RevocationReason.UNSPECIFIED, NOW),
    )
)


@pytest.mark.row("F136")
@pytest.mark.parametrize("algorithm", SIGNATURE_ALGORITHMS.values(), ids=lambda row: row.name)
def test_a_stranger_reads_and_verifies_the_crl(algorithm: SignatureAlgorithm) -> None:
    crl = x509.load_der_x509_crl(make_crl(algorithm, ENTRIES, number=2**158))
    assert crl.is_signature_valid(key_for(algorithm).public_key())
    assert crl.issuer == ISSUER_NAME
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, LATER)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2**158
    assert crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == KEY_ID
    assert not any(extension.critical for extension in crl.extensions)
    assert [entry.serial_number for entry in crl] == [5, 0x80, 2**160 - 1, 9]
    held = crl[2]
    assert held.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.certificate_hold
    invalid = held.extensions.get_extension_for_class(x509.InvalidityDate).value
    assert invalid.invalidity_date_utc == NOW - timedelta(days=3)


@pytest.mark.parametrize("bits", [44, 65, 87])
def test_ml_dsa_signature_is_verified_by_an_independent_implementation(bits: int) -> None:
    crl = parse_crl(make_crl(SIGNATURE_ALGORITHMS[f"ML-DSA-{bits}"], ENTRIES))
    public, _ = ML_DSA_ORACLES[bits].key_derive(SEED)
    assert ML_DSA_ORACLES[bits].verify(public, crl.tbs, crl.signature)


def ca_certificate(path: Path, algorithm: SignatureAlgorithm) -> Path:
    key = key_for(algorithm)
    builder = x509.CertificateBuilder(
        ISSUER_NAME, ISSUER_NAME, key.public_key(), 1, EARLY, EARLY + timedelta(days=36500)
    )
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    hash_ = hashes.SHA256() if algorithm.hash else None
    path.write_bytes(builder.sign(key, hash_).public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize(
    "name", ["sha256WithRSAEncryption", "rsassaPss-sha384", "ecdsa-with-SHA384", "Ed25519", "Ed448"]
)
def test_openssl_verifies_the_crl(name: str, tmp_path: Path) -> None:
    algorithm = SIGNATURE_ALGORITHMS[name]
    ca = ca_certificate(tmp_path / "ca.pem", algorithm)
    file = tmp_path / "a.crl"
    file.write_bytes(make_crl(algorithm, ENTRIES))
    text = accepted(run_tool("openssl", "crl", "-inform", "DER", "-in", file, "-CAfile", ca, "-noout", "-text"))
    assert "verify OK" in text
    assert "Certificate Hold" in text
    assert text.count("Serial Number:") == 4


def test_gnutls_reads_the_crl(tmp_path: Path) -> None:
    file = tmp_path / "a.crl"
    file.write_bytes(make_crl(SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"], ENTRIES, number=300, at=datetime.now(UTC)))
    text = accepted(run_tool("certtool", "--crl-info", "--inder", "--infile", file))
    assert "Revoked certificates (4)" in text
    assert "012c" in text  # the number, in hexadecimal
    ca = ca_certificate(tmp_path / "ca.pem", ECDSA)
    pem = tmp_path / "a.pem"
    pem.write_text(pem_encode("X509 CRL", file.read_bytes()))
    accepted(run_tool("certtool", "--verify-crl", "--load-ca-certificate", ca, "--infile", pem))


def test_pkilint_finds_nothing_wrong(tmp_path: Path) -> None:
    file = tmp_path / "a.crl"
    file.write_bytes(make_crl(SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"], ENTRIES[: len(encode_crl_entry(5, NOW))]))
    accepted(run_tool("lint_crl", "lint", "-t", "CRL", "-p", "PKIX", "-s", "WARNING", file))


def test_empty_crl_has_no_list() -> None:
    der = make_crl()
    assert len(x509.load_der_x509_crl(der)) == 0
    assert parse_crl(der).raw_entries == b""


def test_entries_may_come_in_pieces() -> None:
    pieces = [encode_crl_entry(n, NOW) for n in range(1, 4)]
    whole = encode_tbs_crl(ISSUER, ED25519, NOW, LATER, 1, KEY_ID, b"".join(pieces))
    assert encode_tbs_crl(ISSUER, ED25519, NOW, LATER, 1, KEY_ID, pieces) == whole
    assert encode_tbs_crl(ISSUER, ED25519, NOW, LATER, 1, KEY_ID, iter(pieces)) == whole


def test_further_extensions_follow() -> None:
    point = Extension("2.5.29.28", True, bytes.fromhex("3003810100"))
    tbs = encode_tbs_crl(ISSUER, ED25519, NOW, LATER, 1, KEY_ID, b"", [point])
    crl = parse_crl(assemble_crl(tbs, ED25519, sign(ED25519, tbs)))
    assert crl.extensions[2] == point
    assert crl.extension("2.5.29.28") == point
    assert crl.extension("2.5.29.27") is None


def test_what_is_encoded_is_read_again() -> None:
    crl = parse_crl(make_crl(ECDSA, ENTRIES, number=42))
    assert (crl.issuer, crl.this_update, crl.next_update, crl.number) == (ISSUER, NOW, LATER, 42)
    assert crl.algorithm is ECDSA
    assert crl.raw_entries == ENTRIES
    assert list(crl.entries) == [
        RevokedEntry(5, NOW),
        RevokedEntry(0x80, NOW, RevocationReason.KEY_COMPROMISE),
        RevokedEntry(2**160 - 1, NOW, RevocationReason.CERTIFICATE_HOLD, NOW - timedelta(days=3)),
        RevokedEntry(9, datetime(2050, 1, 1, tzinfo=UTC), RevocationReason.UNSPECIFIED, NOW),
    ]


def moments(first_year: int) -> st.SearchStrategy[datetime]:
    seconds = st.integers(int(datetime(first_year, 1, 1, tzinfo=UTC).timestamp()), 10_413_792_000)
    return seconds.map(lambda second: datetime.fromtimestamp(second, UTC))


@given(
    serial=st.integers(0, 2**160 - 1),
    at=moments(1950),
    reason=st.sampled_from(RevocationReason),
    invalid=st.none() | moments(1900),
)
@settings(max_examples=200, deadline=None)
def test_any_entry_means_to_strangers_what_it_means_to_us(
    serial: int, at: datetime, reason: RevocationReason, invalid: datetime | None
) -> None:
    entry = encode_crl_entry(serial, at, reason, invalid)
    assert entry == encode_crl_entry(serial.to_bytes(20, "big"), at, reason, invalid)
    der = make_crl(entries=entry)
    (theirs,) = x509.load_der_x509_crl(der)
    assert (theirs.serial_number, theirs.revocation_date_utc) == (serial, at)
    assert list(parse_crl(der).entries) == [RevokedEntry(serial, at, reason, invalid)]


def test_unspecified_is_said_by_silence() -> None:
    assert oid("2.5.29.21") not in encode_crl_entry(5, NOW)


@pytest.mark.parametrize("serial", [-1, 2**168, b"\x01" * 21])
def test_serials_that_no_certificate_has_are_refused(serial: int | bytes) -> None:
    with pytest.raises(ValueError, match="serial number"):
        encode_crl_entry(serial, NOW)


def test_naive_times_are_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        encode_crl_entry(1, datetime(2026, 1, 1))  # noqa: DTZ001 - that is the case


def test_other_time_zones_become_utc() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=2)))
    assert encode_crl_entry(1, local, invalidity_date=local) == encode_crl_entry(1, NOW, invalidity_date=NOW)


@pytest.mark.parametrize("number", [-1, 2**159])
def test_numbers_out_of_range_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="CRL number"):
        encode_tbs_crl(ISSUER, ED25519, NOW, LATER, number, KEY_ID, b"")


def test_an_extension_given_twice_is_refused() -> None:
    with pytest.raises(Malformed, match="twice"):
        encode_tbs_crl(ISSUER, ED25519, NOW, LATER, 1, KEY_ID, b"", [Extension("2.5.29.20", False, b"\x02\x01\x01")])


# What others write


def test_version_1_without_next_update_is_read() -> None:
    crl = parse_crl(crl_from(INNER, ISSUER, THIS_UPDATE))
    assert (crl.number, crl.next_update, crl.extensions, list(crl.entries)) == (None, None, (), [])


def listing(*extensions: bytes) -> bytes:
    return crl_from(INNER, ISSUER, THIS_UPDATE, tlv(0xA0, tlv(0x30, *extensions)))


def numbered(value: bytes) -> bytes:
    return raw_extension("2.5.29.20", value)


BROKEN = {
    "empty": b"",
    "version 3": crl_from(b"\x02\x01\x02", INNER, ISSUER, THIS_UPDATE),
    "two algorithms": crl_from(INNER, ISSUER, THIS_UPDATE, algorithm=encode_algorithm(ECDSA)),
    "no thisUpdate": crl_from(INNER, ISSUER),
    "no seconds": crl_from(INNER, ISSUER, tlv(0x17, b"2603011200Z")),
    "local time": crl_from(INNER, ISSUER, tlv(0x17, b"260301120000+0100")),
    "fraction": crl_from(INNER, ISSUER, tlv(0x18, b"20260301120000.5Z")),
    "no such day": crl_from(INNER, ISSUER, tlv(0x17, b"260230120000Z")),
    "trailing data": make_crl(entries=ENTRIES) + b"\0",
    "trailing field": crl_from(INNER, ISSUER, THIS_UPDATE, b"\x05\x00"),
    "extension twice": listing(numbered(b"\x02\x01\x01"), numbered(b"\x02\x01\x01")),
    "no extension in the list": listing(),
    "negative number": listing(numbered(b"\x02\x01\xff")),
    "number of 21 octets": listing(numbered(tlv(2, b"\x01" * 21))),
    "number is text": listing(numbered(b"\x0c\x011")),
    "critical is neither": listing(tlv(0x30, oid("2.5.29.20"), b"\x01\x01\x01", b"\x04\x03\x02\x01\x01")),
    "signature with unused bits": tlv(0x30, tlv(0x30, INNER, ISSUER, THIS_UPDATE), INNER, b"\x03\x02\x01\x80"),
    "BER": b"\x30\x80" + make_crl()[3:] + b"\0\0",
    "PEM": b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
}  # fmt: skip


@pytest.mark.parametrize("der", BROKEN.values(), ids=BROKEN)
def test_broken_lists_are_refused(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_crl(der)


def test_sha1_is_refused_by_name() -> None:
    sha1 = tlv(0x30, oid("1.2.840.113549.1.1.5"), b"\x05\x00")
    with pytest.raises(UnsupportedAlgorithm, match="SHA-1"):
        parse_crl(crl_from(sha1, ISSUER, THIS_UPDATE, algorithm=sha1))


def entry_with(*extensions: bytes, serial: bytes = b"\x02\x01\x05", date: bytes = THIS_UPDATE) -> CRL:
    listed = tlv(0x30, *extensions) if extensions else b""
    return parse_crl(crl_from(b"\x02\x01\x01", INNER, ISSUER, THIS_UPDATE, tlv(0x30, tlv(0x30, serial, date, listed))))


BAD_ENTRIES = {
    "removeFromCRL": entry_with(raw_extension("2.5.29.21", b"\x0a\x01\x08")),
    "reason 7": entry_with(raw_extension("2.5.29.21", b"\x0a\x01\x07")),
    "reason is an INTEGER": entry_with(raw_extension("2.5.29.21", b"\x02\x01\x01")),
    "reason twice": entry_with(raw_extension("2.5.29.21", b"\x0a\x01\x01") * 2),
    "another CA's": entry_with(raw_extension("2.5.29.29", tlv(0x30, tlv(0xA4, ISSUER)), critical=True)),
    "serial is text": entry_with(serial=b"\x0c\x01\x05"),
    "serial negative": entry_with(serial=b"\x02\x01\xff"),
    "serial too long": entry_with(serial=tlv(2, b"\x01" * 21)),
    "serial not minimal": entry_with(serial=b"\x02\x02\x00\x05"),
    "date is text": entry_with(date=b"\x0c\x01\x05"),
}


@pytest.mark.parametrize("crl", BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_broken_entries_are_refused_when_read(crl: CRL) -> None:
    with pytest.raises(Malformed):
        list(crl.entries)


def test_remove_from_crl_is_refused_by_name() -> None:
    with pytest.raises(Malformed, match="removeFromCRL"):
        list(BAD_ENTRIES["removeFromCRL"].entries)


def test_an_entry_cut_off_is_refused_when_read() -> None:
    der = crl_from(b"\x02\x01\x01", INNER, ISSUER, THIS_UPDATE, tlv(0x30, encode_crl_entry(1, NOW)[:-1]))
    with pytest.raises(Malformed):
        list(parse_crl(der).entries)


def read_whole(data: bytes) -> None:
    with contextlib.suppress(PkiconfError):
        list(parse_crl(data).entries)


SEEDS = (make_crl(entries=ENTRIES), make_crl(ECDSA), listing(numbered(b"\x02\x01\x01")))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_our_errors(data: bytes) -> None:
    read_whole(data)


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=500, deadline=None)
def test_damage_raises_only_our_errors(der: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(der) - 1))
    cut = data.draw(st.integers(0, 3))
    read_whole(der[:at] + data.draw(st.binary(max_size=3)) + der[at + cut :])


# Size


@pytest.mark.row("F138")
def test_100_000_entries() -> None:
    serials = [bytes([0x40]) + n.to_bytes(18, "big") for n in range(100_000)]
    times = [NOW + timedelta(seconds=n) for n in range(100_000)]
    entries = (encode_crl_entry(s, t, RevocationReason.SUPERSEDED) for s, t in zip(serials, times, strict=True))
    der = make_crl(entries=b"".join(entries))
    assert len(x509.load_der_x509_crl(der)) == 100_000


MILLION = """
import resource
from datetime import UTC, datetime
from pkiconf.der.crl import assemble_crl, encode_tbs_crl, parse_crl
from pkiconf.der.crl_entries import encode_crl_entry
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.revocation import RevocationReason
now, algorithm = datetime(2026, 1, 1, tzinfo=UTC), SIGNATURE_ALGORITHMS["Ed25519"]
entries = (encode_crl_entry(2**150 + n, now, RevocationReason.KEY_COMPROMISE) for n in range(1_000_000))
tbs = encode_tbs_crl(b"\\x30\\x00", algorithm, now, now, 1, bytes(20), entries)
crl = parse_crl(assemble_crl(tbs, algorithm, bytes(64)))
assert sum(1 for _ in zip(range(5), crl.entries)) == 5 and len(crl.raw_entries) > 50_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_million_entries_stay_far_below_a_gigabyte() -> None:
    result = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, check=True, timeout=240)
    assert int(result.stdout) < 600_000  # KiB


@pytest.mark.parametrize("sizes", [(36, 50, 36), (50, 0, 127, 1), (36, 300, 36), (128, 36), ()])
def test_entries_are_split_where_they_end(sizes: tuple[int, ...]) -> None:
    # Their octets look like the beginning of an entry themselves.
    entries = [encode_tlv(SEQUENCE, (b"\x30\x24" * size)[:size]) for size in sizes]
    assert list(chain.from_iterable(split_entries(b"".join(entries), "the CRL"))) == entries


def test_more_entries_than_are_looked_at_at_once_are_split_alike() -> None:
    entries = encode_crl_entries(
        (bytes([1 + n % 126] * (19 - n % 2)), 1_700_000_000 + n, n % 3, None) for n in range(90_000)
    )
    content = b"".join(entries)
    assert [len(piece) > 1 for piece in split_entries(content, "the CRL")].count(True) > 2
    assert list(chain.from_iterable(split_entries(content, "the CRL"))) == entries


@pytest.mark.parametrize("junk", [b"\x05", b"\x30", b"\x30\x24", b"\x30\x80\x00\x00", b"\x1f\x81"])
def test_what_is_no_entry_is_not_skipped(junk: bytes) -> None:
    entry = encode_crl_entry(2**150, NOW)
    with pytest.raises(Malformed):
        list(split_entries(entry * 3 + junk, "the CRL"))
    with pytest.raises(Malformed):
        list(split_entries(junk, "the CRL"))


def test_an_element_between_entries_is_not_lost() -> None:
    entry = encode_crl_entry(2**150, NOW)
    assert list(chain.from_iterable(split_entries(entry + b"\x05\x00" + entry, "the CRL"))) == [
        entry,
        b"\x05\x00",
        entry,
    ]
