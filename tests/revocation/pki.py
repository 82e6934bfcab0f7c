"""A small PKI, questions made by a stranger's library, and answers read and verified by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import text

from pkiconf.der.tlv import encode_sequence, encode_tlv
from pkiconf.model.request import Issued
from pkiconf.revocation.ocsp import OCSPAnswer
from pkiconf.steps import Step
from pkiconf.store import authorities
from tests.world import World, make_csr

DECLARATION = """
settings: {base_url: "http://pki.corp.example"}
authorities:
  - {name: root, key: {type: ec, curve: p256}, validity: 20y}
  - {name: issuing, issuer: root, key: {type: ec, curve: p256}, validity: 10y}
  - {name: other, issuer: root, key: {type: ec, curve: p256}, validity: 10y}
"""
NEVER_ISSUED = 0x40DEADBEEF << 112


@dataclass
class PKI:
    world: World

    def issue(self, authority: str = "issuing", name: str = "web.corp.example") -> Issued:
        return self.world.issued(f"{authority}/web-server", make_csr(name, (name,)))

    def issuer_id(self, authority: str = "issuing") -> int:
        row = self.world.parts.db.read(lambda c: authorities.get_authority_by_name(c, authority))
        assert row.current_issuer_id is not None
        return row.current_issuer_id

    def issuer(self, authority: str = "issuing") -> x509.Certificate:
        issuer_id = self.issuer_id(authority)
        own = self.world.parts.db.read(lambda c: authorities.find_ca_certificate(c, issuer_id))
        assert own is not None
        return x509.load_der_x509_certificate(own.der)

    def answer(self, request: bytes, slug: str = "issuing") -> OCSPAnswer:
        return self.world.services.ocsp.answer(slug, request, self.world.clock.now())

    def ask(self, serial: int, authority: str = "issuing", nonce: bytes | None = None) -> ocsp.OCSPResponse:
        """A successful answer about one serial, verified."""
        issuer = self.issuer(authority)
        answer = ocsp.load_der_ocsp_response(self.answer(question(issuer, serial, nonce=nonce), authority).der)
        verify(answer, issuer)
        return answer

    def crl(self, authority: str = "issuing") -> x509.CertificateRevocationList:
        """The one that is served now, verified."""
        crl = x509.load_der_x509_crl(self.world.services.crls.current(self.issuer_id(authority)).der)
        key = self.issuer(authority).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert crl.is_signature_valid(key)
        return crl

    def take(self, serial: int, authority: str = "issuing") -> None:
        """A good certificate with a serial that a test chose, as an import records one."""
        issuer_id = self.issuer_id(authority)
        columns = "issuer_id, serial, bucket, status, not_before, not_after, origin_kind, origin_id, reserved_at"
        statement = text(
            f"INSERT INTO certificate ({columns}, lease_until)"
            " VALUES (:issuer, :serial, 0, 'good', 0, 9999999999, 'import', :origin, 0, 0)"
        )
        values = {"issuer": issuer_id, "serial": serial.to_bytes(19), "origin": str(serial)}
        self.world.parts.db.write(Step.AUTHORITY_IMPORT, lambda c: c.execute(statement, values))

    def rows(self, table: str) -> int:
        return int(self.world.parts.db.read(lambda c: c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() or 0))


def prepare(world: World) -> PKI:
    recap = world.apply(DECLARATION)
    assert recap.exit_code == 0, recap
    world.pass_time(timedelta(hours=1))
    return PKI(world)


def serial_of(issued: Issued) -> int:
    return x509.load_der_x509_certificate(issued.der).serial_number


def question(
    issuer: x509.Certificate,
    serial: int,
    hash_algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    algorithm = hash_algorithm or hashes.SHA1()
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        _digest(algorithm, issuer.subject.public_bytes()), _key_digest(algorithm, issuer), serial, algorithm
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), False)
    return builder.build().public_bytes(Encoding.DER)


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _key_digest(algorithm: hashes.HashAlgorithm, issuer: x509.Certificate) -> bytes:
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return _digest(algorithm, key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


SHA1_ALGORITHM = bytes.fromhex("300906052b0e03021a0500")


def cert_id(issuer: x509.Certificate, serial: bytes) -> bytes:
    """A CertID by hand, for serials that libraries refuse; `serial` is the content of the INTEGER."""
    algorithm = hashes.SHA1()
    return encode_sequence(
        (
            SHA1_ALGORITHM,
            encode_tlv(4, _digest(algorithm, issuer.subject.public_bytes())),
            encode_tlv(4, _key_digest(algorithm, issuer)),
            encode_tlv(2, serial),
        )
    )


def question_about(cert_ids: Iterable[bytes], extensions: bytes = b"") -> bytes:
    """`extensions` is the DER of the request's extension list, or nothing."""
    requests = encode_sequence(encode_sequence((one,)) for one in cert_ids)
    return encode_sequence((encode_sequence((requests, encode_tlv(0xA2, extensions) if extensions else b"")),))


def nonce_extension(value: bytes) -> bytes:
    """`value` is what goes into extnValue."""
    return encode_sequence((encode_sequence((bytes.fromhex("06092b0601050507300102"), encode_tlv(4, value))),))


def verify(answer: ocsp.OCSPResponse, issuer: x509.Certificate) -> x509.Certificate:
    """The responder's certificate, after all that a relying party checks (RFC 6960 §3.2)."""
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    (responder,) = answer.certificates
    responder.verify_directly_issued_by(issuer)
    usages = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.OCSP_SIGNING in usages
    key = responder.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert answer.signature_hash_algorithm is not None
    key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm))
    assert answer.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(key).digest
    return responder
