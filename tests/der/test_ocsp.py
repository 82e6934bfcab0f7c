from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.keys import key_bits, key_identifier
from pkiconf.der.ocsp import (
    MAX_CERT_IDS,
    MAX_REQUEST_SIZE,
    CertStatus,
    Good,
    ResponseStatus,
    Revoked,
    SingleResponse,
    Unknown,
    assemble_ocsp_response,
    encode_response_data,
    error_response,
    parse_ocsp_request,
)
from pkiconf.der.verify import verify_signature
from pkiconf.errors import Malformed, PkiconfError
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, KeyType, SignatureAlgorithm
from pkiconf.model.revocation import RevocationReason
from tests.judges.pkilint import pkilint_findings
from tests.keys import ML_DSA_ORACLES, SEED, AnyKey, key_for, sign, spki_for
from tests.tools import accepted, run_tool
from tests.vectors.construct import extension, oid, tlv

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=24)
ECDSA = SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]
NONCE_OID = "1.3.6.1.5.5.7.48.1.2"
HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


def cert_id(
    serial: bytes = b"\x05", hash_name: str = "sha1", name_hash: bytes = b"n" * 20, parameters: bytes = b"\x05\x00"
) -> bytes:
    algorithm = tlv(0x30, oid(HASH_OIDS.get(hash_name, hash_name)), parameters)
    return tlv(0x30, algorithm, tlv(0x04, name_hash), tlv(0x04, b"k" * 20), tlv(0x02, serial))


def request(*cert_ids: bytes, before: bytes = b"", extensions: Sequence[bytes] = (), after: bytes = b"") -> bytes:
    listed = tlv(0x30, *(tlv(0x30, der) for der in cert_ids))
    wrapped = tlv(0xA2, tlv(0x30, *extensions)) if extensions else b""
    return tlv(0x30, tlv(0x30, before, listed, wrapped), after)


def nonce(value: bytes, critical: bool = False) -> bytes:
    return extension(NONCE_OID, value, critical)


# Requests


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_requests_of_cryptography_are_read(algorithm: hashes.HashAlgorithm) -> None:
    size = algorithm.digest_size
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(b"n" * size, b"k" * size, 2**150 + 1, algorithm)
    parsed = parse_ocsp_request(
        builder.add_extension(x509.OCSPNonce(b"r" * 32), False).build().public_bytes(Encoding.DER)
    )
    (asked,) = parsed.cert_ids
    assert asked.hash_algorithm == algorithm.name
    assert (asked.name_hash, asked.key_hash, asked.serial_number) == (b"n" * size, b"k" * size, 2**150 + 1)
    assert parsed.nonce == tlv(0x04, b"r" * 32)


@pytest.mark.row("F131")
def test_requests_of_openssl_are_read(world: World, tmp_path: Path) -> None:
    file = tmp_path / "request.der"
    one = ("-issuer", world.ca_file, "-sha256", "-cert", world.leaf_file, "-sha1", "-cert", world.leaf_file)
    accepted(run_tool("openssl", "ocsp", *one, "-serial", "0x7fff", "-reqout", file))
    parsed = parse_ocsp_request(file.read_bytes())
    assert [asked.hash_algorithm for asked in parsed.cert_ids] == ["sha256", "sha1", "sha1"]
    assert [asked.serial_number for asked in parsed.cert_ids] == [world.leaf.serial_number] * 2 + [0x7FFF]
    name = world.ca.subject.public_bytes()
    assert parsed.cert_ids[0].name_hash == hashlib.sha256(name).digest()
    assert parsed.cert_ids[0].key_hash == hashlib.sha256(key_bits(spki_for(ECDSA))).digest()
    assert parsed.nonce is not None
    assert parsed.nonce[:1] == b"\x04"


def test_several_cert_ids_keep_their_octets() -> None:
    asked = [cert_id(bytes([n]), name) for n, name in enumerate(HASH_OIDS, 1)]
    asked += [cert_id(parameters=b""), cert_id(b"\x00\xff", "2.16.840.1.101.3.4.2.8"), cert_id(b"\x00")]
    parsed = parse_ocsp_request(request(*asked))
    assert [each.der for each in parsed.cert_ids] == asked
    assert [each.serial_number for each in parsed.cert_ids] == [1, 2, 3, 4, 5, 255, 0]
    assert [each.hash_algorithm for each in parsed.cert_ids][3:] == ["sha512", "sha1", "2.16.840.1.101.3.4.2.8", "sha1"]
    assert parsed.nonce is None


def test_a_cert_id_of_more_than_127_octets_keeps_its_octets() -> None:
    asked = cert_id(name_hash=b"n" * 300)
    assert parse_ocsp_request(request(asked)).cert_ids[0].der == asked


TOLERATED = {
    "explicit version 1": request(cert_id(), before=tlv(0xA0, b"\x02\x01\x00")),
    "explicit critical FALSE": request(
        cert_id(), extensions=[tlv(0x30, oid("1.2.3.4"), b"\x01\x01\x00", tlv(0x04, b"\x05\x00"))]
    ),
    "requestor": request(cert_id(), before=tlv(0xA1, tlv(0xA4, x509.Name([]).public_bytes()))),
    "signature": request(cert_id(), after=tlv(0xA0, tlv(0x30, tlv(0x30, oid(ECDSA.oid)), tlv(0x03, b"\0sig")))),
    "unknown extension": request(cert_id(), extensions=[extension("1.2.3.4", b"\x05\x00")]),
    "acceptable responses": request(
        cert_id(), extensions=[extension("1.3.6.1.5.5.7.48.1.4", tlv(0x30, oid("1.3.6.1.5.5.7.48.1.1")))]
    ),
    "service locator": request(cert_id() + tlv(0xA0, tlv(0x30, extension("1.3.6.1.5.5.7.48.1.7", b"\x30\x00")))),
}


@pytest.mark.parametrize("der", TOLERATED.values(), ids=TOLERATED)
def test_what_need_not_be_understood_is_passed_over(der: bytes) -> None:
    assert parse_ocsp_request(der).cert_ids[0].der == cert_id()


def single_extension(*listed: bytes) -> bytes:
    return request(cert_id() + tlv(0xA0, tlv(0x30, *listed)))


BROKEN = {
    "empty": b"",
    "no certificate": request(),
    "too many certificates": request(*[cert_id()] * (MAX_CERT_IDS + 1)),
    "too long": request(cert_id(), extensions=[extension("1.2.3", bytes(MAX_REQUEST_SIZE))]),
    "version 2": request(cert_id(), before=tlv(0xA0, b"\x02\x01\x01")),
    "trailing data": request(cert_id()) + b"\0",
    "trailing field": tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, cert_id())), b"\x05\x00")),
    "negative serial": request(cert_id(b"\xff")),
    "one negative serial of two": request(cert_id(), cert_id(b"\x80\x00")),
    "serial not minimal": request(cert_id(b"\x00\x05")),
    "serial empty": request(cert_id(b"")),
    "hash with strange parameters": request(cert_id(parameters=b"\x02\x01\x05")),
    "CertID is a SET": request(b"\x31" + cert_id()[1:]),
    "CertID with a field too many": request(tlv(0x30, cert_id()[2:], b"\x05\x00")),
    "CertID truncated": request(tlv(0x30, cert_id()[2:-3])),
    "unknown critical extension": request(cert_id(), extensions=[extension("1.2.3.4", b"\x05\x00", critical=True)]),
    "unknown critical extension of one certificate": single_extension(extension("1.2.3.4", b"\x05\x00", critical=True)),
    "extension twice": request(cert_id(), extensions=[extension("1.2.3.4", b"\x05\x00")] * 2),
    "nonce twice": request(cert_id(), extensions=[nonce(b"\x04\x01a"), nonce(b"\x04\x01b")]),
    "extension of one certificate twice": single_extension(*[extension("1.2.3.4", b"\x05\x00")] * 2),
    "BER length": b"\x30\x81" + request(cert_id())[1:],
    "BER indefinite": b"\x30\x80" + request(cert_id())[2:] + b"\0\0",
    "BER critical flag": request(cert_id(), extensions=[tlv(0x30, oid("1.2.3"), b"\x01\x01\x01", b"\x04\x00")]),
    "base64": b"MEIwQDA+MDwwOjAJBgUrDgMCGgUABBQ=",
}  # fmt: skip


@pytest.mark.parametrize("der", BROKEN.values(), ids=BROKEN)
def test_broken_requests_are_refused(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_ocsp_request(der)


@pytest.mark.parametrize("cut", range(0, len(request(cert_id())), 3))
def test_truncated_requests_are_refused(cut: int) -> None:
    with pytest.raises(Malformed):
        parse_ocsp_request(request(cert_id())[:cut])


@pytest.mark.parametrize("size", [1, 16, 32, 127, 128])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("critical", [True, False])
def test_nonces_come_back_as_they_were(size: int, wrapped: bool, critical: bool) -> None:
    value = tlv(0x04, b"r" * size) if wrapped else b"r" * size
    assert parse_ocsp_request(request(cert_id(), extensions=[nonce(value, critical)])).nonce == value


def test_a_bare_nonce_that_begins_like_a_wrapped_one_is_a_nonce() -> None:
    value = b"\x04\x20" + b"r" * 14
    assert parse_ocsp_request(request(cert_id(), extensions=[nonce(value)])).nonce == value


@pytest.mark.parametrize(
    "value", [b"", tlv(0x04), b"r" * 129, tlv(0x04, b"r" * 129), tlv(0x04, b"r" * 5000)],
    ids=["bare 0", "wrapped 0", "bare 129", "wrapped 129", "wrapped 5000"],
)  # fmt: skip
def test_nonces_of_no_or_too_many_octets_are_refused(value: bytes) -> None:
    with pytest.raises(Malformed, match="nonce"):
        parse_ocsp_request(request(cert_id(), extensions=[nonce(value)]))


def read(data: bytes) -> None:
    with contextlib.suppress(PkiconfError):
        parse_ocsp_request(data)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_garbage_raises_only_our_errors(data: bytes) -> None:
    read(data)


@given(st.sampled_from([*TOLERATED.values(), request(cert_id(), cert_id(), extensions=[nonce(b"r" * 16)])]), st.data())
@settings(max_examples=500, deadline=None)
def test_damage_raises_only_our_errors(der: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(der) - 1))
    read(der[:at] + data.draw(st.binary(max_size=3)) + der[at + data.draw(st.integers(0, 3)) :])


def test_ten_megabytes_are_refused() -> None:
    with pytest.raises(Malformed):
        parse_ocsp_request(bytes(10_000_000))


# Responses


@dataclass
class World:
    """A CA, a certificate of it, and the file names that openssl wants."""

    ca: x509.Certificate
    leaf: x509.Certificate
    ca_file: Path
    leaf_file: Path


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(subject: str, key: AnyKey, serial: int, *extensions: tuple[x509.ExtensionType, bool]) -> x509.Certificate:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    ends = (start, start + timedelta(days=36500))
    builder = x509.CertificateBuilder(name("Example CA"), name(subject), key.public_key(), serial, *ends)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(key_for(ECDSA), hashes.SHA256())


@pytest.fixture
def world(tmp_path: Path) -> World:
    ca = issue("Example CA", key_for(ECDSA), 1, (x509.BasicConstraints(True, None), True))
    leaf = issue("leaf", key_for(ECDSA), 2**150 + 7)
    world = World(ca, leaf, tmp_path / "ca.pem", tmp_path / "leaf.pem")
    world.ca_file.write_bytes(ca.public_bytes(Encoding.PEM))
    world.leaf_file.write_bytes(leaf.public_bytes(Encoding.PEM))
    return world


def responder_certificate(algorithm: SignatureAlgorithm) -> bytes:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    certificate = issue("responder", key_for(algorithm), 9, (usage, False), (x509.OCSPNoCheck(), False))
    return certificate.public_bytes(Encoding.DER)


def respond(
    der: bytes, statuses: Sequence[CertStatus], algorithm: SignatureAlgorithm = ECDSA, at: datetime = NOW
) -> bytes:
    parsed = parse_ocsp_request(der)
    until = at + timedelta(hours=24)
    singles = [
        SingleResponse(asked, status, at, until) for asked, status in zip(parsed.cert_ids, statuses, strict=True)
    ]
    data = encode_response_data(key_identifier(spki_for(algorithm)), at, singles, parsed.nonce)
    return assemble_ocsp_response(data, algorithm, sign(algorithm, data), [responder_certificate(algorithm)])


REVOKED_AT = NOW - timedelta(days=3)
STATUSES = (
    Good(),
    Revoked(REVOKED_AT, RevocationReason.KEY_COMPROMISE),
    Unknown(),
    Revoked(REVOKED_AT, RevocationReason.UNSPECIFIED),
)


@pytest.mark.row("F131")
@pytest.mark.row("D24")
@pytest.mark.parametrize("algorithm", SIGNATURE_ALGORITHMS.values(), ids=lambda row: row.name)
def test_a_stranger_reads_and_verifies_the_response(algorithm: SignatureAlgorithm) -> None:
    asked = [cert_id(b"\x01"), cert_id(b"\x02", "sha256"), cert_id(b"\x03", parameters=b""), cert_id(b"\x04")]
    der = respond(request(*asked, extensions=[nonce(tlv(0x04, b"r" * 32))]), STATUSES, algorithm)
    response = ocsp.load_der_ocsp_response(der)
    assert response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert response.responder_key_hash == hashlib.sha1(key_bits(spki_for(algorithm))).digest()
    assert response.produced_at_utc == NOW
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"r" * 32
    assert response.certificates[0].public_bytes(Encoding.DER) == responder_certificate_of(der)
    singles = list(response.responses)
    good, revoked, unknown = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
    assert [single.certificate_status for single in singles] == [good, revoked, unknown, revoked]
    assert [single.serial_number for single in singles] == [1, 2, 3, 4]
    assert [single.revocation_reason for single in singles] == [None, x509.ReasonFlags.key_compromise, None, None]
    assert singles[1].revocation_time_utc == REVOKED_AT
    assert {(single.this_update_utc, single.next_update_utc) for single in singles} == {(NOW, LATER)}
    assert all(each in der for each in asked)
    check_signature(response, algorithm)


def responder_certificate_of(der: bytes) -> bytes:
    return ocsp.load_der_ocsp_response(der).certificates[0].public_bytes(Encoding.DER)


def check_signature(response: ocsp.OCSPResponse, algorithm: SignatureAlgorithm) -> None:
    """Over what the stranger took for the signed part; ML-DSA by dilithium-py."""
    if algorithm.key_type is KeyType.ML_DSA:
        assert algorithm.key_bits is not None
        oracle = ML_DSA_ORACLES[algorithm.key_bits]
        public, _ = oracle.key_derive(SEED)
        assert oracle.verify(public, response.tbs_response_bytes, response.signature)
        return
    verify_signature(spki_for(algorithm), algorithm, response.tbs_response_bytes, response.signature)


OPENSSL_ALGORITHMS = ["sha256WithRSAEncryption", "rsassaPss-sha256", "ecdsa-with-SHA384", "Ed25519", "Ed448"]


@pytest.mark.row("F131")
@pytest.mark.parametrize("algorithm", OPENSSL_ALGORITHMS)
@pytest.mark.parametrize(
    ("status", "said"),
    [(Good(), ": good"), (STATUSES[1], "Reason: keyCompromise"), (Unknown(), ": unknown")],
    ids=["good", "revoked", "unknown"],
)
def test_openssl_believes_the_response(
    algorithm: str, status: CertStatus, said: str, world: World, tmp_path: Path
) -> None:
    asked, answer = tmp_path / "request.der", tmp_path / "response.der"
    about = ("-issuer", world.ca_file, "-cert", world.leaf_file)
    accepted(run_tool("openssl", "ocsp", *about, "-reqout", asked))
    answer.write_bytes(respond(asked.read_bytes(), [status], SIGNATURE_ALGORITHMS[algorithm], datetime.now(UTC)))
    check = ("-no_nonce", "-reqin", asked, "-respin", answer, "-CAfile", world.ca_file)
    text = accepted(run_tool("openssl", "ocsp", *about, *check))
    assert "Response verify OK" in text
    assert "WARNING" not in text  # such as: no nonce in response
    assert said in text


def test_pkilint_finds_nothing_wrong(world: World, tmp_path: Path) -> None:
    file = tmp_path / "response.der"
    file.write_bytes(respond(request(cert_id(hash_name="sha256")), [STATUSES[1]]))
    accepted(run_tool("lint_ocsp_response", "lint", "-s", "WARNING", file))


@pytest.mark.parametrize("algorithm", SIGNATURE_ALGORITHMS.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("extensions", [[], [nonce(tlv(0x04, b"r" * 32))]], ids=["no nonce", "nonce"])
def test_pkilint_finds_no_errors_in_any_kind_of_answer(algorithm: SignatureAlgorithm, extensions: list[bytes]) -> None:
    for statuses in (*((status,) for status in STATUSES), STATUSES):
        asked = [cert_id(bytes((number,)), "sha256") for number in range(1, len(statuses) + 1)]
        answer = respond(request(*asked, extensions=extensions), statuses, algorithm)
        assert pkilint_findings(answer, "ocsp") == [], statuses


def test_without_nonce_and_certificates_nothing_stands_in_their_place() -> None:
    (asked,) = parse_ocsp_request(request(cert_id())).cert_ids
    data = encode_response_data(b"k" * 20, NOW, [(asked, Good(), NOW, LATER)])
    response = ocsp.load_der_ocsp_response(assemble_ocsp_response(data, ECDSA, sign(ECDSA, data)))
    assert len(response.extensions) == 0
    assert response.certificates == []


@pytest.mark.parametrize("status", [1, 2, 3, 5, 6])
def test_errors_are_only_their_status(status: int) -> None:
    der = error_response(status)
    assert der == bytes((0x30, 3, 0x0A, 1, status))
    assert ocsp.load_der_ocsp_response(der).response_status.value == status
    assert error_response(ResponseStatus(status)) == der


@pytest.mark.parametrize("status", [0, 4, 7, -1])
def test_what_is_no_error_is_no_error_response(status: int) -> None:
    with pytest.raises(ValueError):
        error_response(status)


def test_naive_times_are_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        encode_response_data(b"k" * 20, datetime(2026, 1, 1), [])  # noqa: DTZ001 - that is the case
