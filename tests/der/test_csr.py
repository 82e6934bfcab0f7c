from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.algorithms import encode_algorithm
from pkiconf.der.csr import MAX_REQUEST_SIZE, assemble_csr, encode_csr_info, parse_csr
from pkiconf.der.pem import pem_decode_all, pem_encode
from pkiconf.der.tlv import read_element
from pkiconf.errors import Malformed, PkiconfError, UnsupportedAlgorithm, Unverified
from pkiconf.model.certificate import Extension
from pkiconf.model.keys import SIGNATURE_ALGORITHMS, KeyType, SignatureAlgorithm
from pkiconf.model.names import URI, DNSName, GeneralName, IPAddress, RFC822Name
from tests.keys import ML_DSA_ORACLES, SEED, key_for, sign, spki_for
from tests.tools import accepted, run_tool
from tests.vectors import construct
from tests.vectors.construct import attribute, common_name, dns_names, extension, oid, tlv

VECTORS = Path(__file__).parents[1] / "vectors" / "csr"
FILES = sorted(VECTORS.iterdir())
REFUSED = "openssl-rsa-sha1.pem"

ECDSA = SIGNATURE_ALGORITHMS["ecdsa-with-SHA256"]
ED25519 = SIGNATURE_ALGORITHMS["Ed25519"]
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
MICROSOFT = "1.3.6.1.4.1.311.2.1.14"
CHALLENGE = attribute("1.2.840.113549.1.9.7", tlv(0x0C, b"secret"))
SUBJECT = common_name("web.corp.example")


def wish(*extensions: bytes, oid_: str = EXTENSION_REQUEST) -> bytes:
    return attribute(oid_, tlv(0x30, *extensions))


def signed(info: bytes, algorithm: SignatureAlgorithm = ED25519) -> bytes:
    return tlv(0x30, info, encode_algorithm(algorithm), tlv(0x03, b"\0", sign(algorithm, info)))


def request(
    *attributes: bytes,
    subject: bytes = SUBJECT,
    version: bytes = b"\x02\x01\x00",
    spki: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    """A request signed over whatever it holds; tests break one thing each, so that the signature never decides."""
    return signed(tlv(0x30, version, subject, spki or spki_for(ED25519), tlv(0xA0, *attributes), more))  # fmt: skip


# What programs in use write

NAMES: dict[str, tuple[GeneralName, ...]] = {
    "gnutls": (
        DNSName("gnutls.corp.example"),
        URI("https://gnutls.corp.example/"),
        IPAddress(ip_address("2001:db8::7")),
    ),
    "java-rsa": (DNSName("java.corp.example"), IPAddress(ip_address("192.0.2.9"))),
    "openssl-ec": (DNSName("web.corp.example"), IPAddress(ip_address("192.0.2.7")), RFC822Name("ops@corp.example")),
    "openssl-rsa-challenge": (DNSName("rsa.corp.example"), DNSName("*.rsa.corp.example")),
    "strongswan": (DNSName("gateway.corp.example"), DNSName("vpn.corp.example")),
    "windows": (DNSName("windows.corp.example"), DNSName("www.corp.example")),
}


def public_key_by_others(file: Path) -> bytes:
    """By openssl, or by cryptography where openssl must be newer (ML-DSA). Cryptography refuses requests whose
    attributes are not in order, so it cannot judge all."""
    if file.name.startswith("ml-dsa"):
        key = x509.load_pem_x509_csr(file.read_bytes()).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    form = "DER" if file.suffix == ".der" else "PEM"
    result = run_tool("openssl", "req", "-inform", form, "-in", file, "-noout", "-pubkey")
    return pem_decode_all(result.stdout, "PUBLIC KEY")[0]


@pytest.mark.row("F16")
@pytest.mark.parametrize("file", [f for f in FILES if f.name != REFUSED], ids=lambda f: f.name)
def test_requests_of_programs_in_use_are_read(file: Path) -> None:
    parsed = parse_csr(file.read_bytes())
    assert parsed.spki == public_key_by_others(file)
    assert parsed.der.count(parsed.spki) == 1  # copied, never encoded anew
    host = parsed.subject.values("2.5.4.3")[0]
    assert host.endswith(".corp.example")
    for prefix, names in NAMES.items():
        if file.name.startswith(prefix):
            assert parsed.sans == names


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_openssl_agrees_that_the_vectors_are_signed(file: Path) -> None:
    if file.name.startswith("ml-dsa"):
        return  # judged by dilithium-py below; openssl knows ML-DSA from 3.5 on
    form = "DER" if file.suffix == ".der" else "PEM"
    assert "verify OK" in accepted(run_tool("openssl", "req", "-inform", form, "-in", file, "-noout", "-verify"))


@pytest.mark.row("F28")
@pytest.mark.parametrize("bits", [44, 65, 87])
def test_ml_dsa_requests_are_read(bits: int) -> None:
    parsed = parse_csr((VECTORS / f"ml-dsa-{bits}.pem").read_bytes())
    assert (parsed.key.type, parsed.key.bits) == (KeyType.ML_DSA, bits)
    public, _ = ML_DSA_ORACLES[bits].key_derive(SEED)
    assert parsed.spki.endswith(public)
    assert parsed.sans == (DNSName(f"ml-dsa-{bits}.corp.example"),)


def test_extensions_of_microsofts_attribute_are_wishes() -> None:
    parsed = parse_csr((VECTORS / "windows-certreq.pem").read_bytes())
    assert [each.oid for each in parsed.extensions] == ["2.5.29.15", "2.5.29.37", "2.5.29.14"]
    assert parsed.extensions[0] == Extension("2.5.29.15", True, b"\x03\x02\x05\xa0")


def test_strongswans_order_of_attributes_is_kept_and_forgiven() -> None:
    data = (VECTORS / "strongswan.der").read_bytes()
    assert parse_csr(data).der == data


def test_sha1_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedAlgorithm, match="SHA-1"):
        parse_csr((VECTORS / REFUSED).read_bytes())


PLAIN = request(CHALLENGE, wish(dns_names("web.corp.example")))
ARMOURED = pem_encode("CERTIFICATE REQUEST", PLAIN)
FORMS = {
    "DER": PLAIN,
    "PEM": ARMOURED.encode(),
    "PEM with NEW": pem_encode("NEW CERTIFICATE REQUEST", PLAIN).encode(),
    "PEM with CR LF": ARMOURED.replace("\n", "\r\n").encode(),
    "PEM after text": b"Certificate Request:\n    Data:\n" + ARMOURED.encode(),
    "PEM in UTF-8 with a mark": b"\xef\xbb\xbf" + ARMOURED.encode(),
    "PEM in UTF-16, as PowerShell redirects": ARMOURED.encode("utf-16"),
    "base64 in one line": base64.b64encode(PLAIN),
    "base64 in lines": base64.encodebytes(PLAIN),
    "base64 with CR LF and spaces": b"  " + base64.encodebytes(PLAIN).replace(b"\n", b" \r\n"),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_every_wrapping_holds_the_same_request(data: bytes) -> None:
    parsed = parse_csr(data)
    assert parsed.der == PLAIN
    assert parsed.sans == (DNSName("web.corp.example"),)


HARMLESS = {
    "no attributes": request(),
    "no attribute list": signed(tlv(0x30, b"\x02\x01\x00", SUBJECT, spki_for(ED25519))),
    "empty wish": request(wish()),
    "the same wish in both attributes": request(
        wish(dns_names("a.example")), wish(dns_names("a.example"), oid_=MICROSOFT)
    ),
    "attribute with several values": request(
        tlv(0x30, oid("1.2.840.113549.1.9.2"), tlv(0x31, tlv(0x0C, b"b"), tlv(0x0C, b"a")))
    ),
    "attribute without value": request(tlv(0x30, oid("1.2.840.113549.1.9.7"), tlv(0x31))),
    "critical written out as FALSE": request(
        wish(tlv(0x30, oid("2.5.29.37"), b"\x01\x01\x00", tlv(0x04, tlv(0x30, oid("1.3.6.1.5.5.7.3.1")))))
    ),
    "empty subject": request(wish(dns_names("a.example")), subject=b"\x30\x00"),
}


@pytest.mark.parametrize("der", HARMLESS.values(), ids=HARMLESS)
def test_harmless_oddities_are_forgiven(der: bytes) -> None:
    assert parse_csr(der).der == der


def test_critical_names_are_marked() -> None:
    names = tlv(0x30, tlv(0x82, b"a.example"))
    assert parse_csr(request(wish(extension("2.5.29.17", names, critical=True)))).sans_critical
    assert not parse_csr(request(wish(extension("2.5.29.17", names)))).sans_critical


# Proof of possession


def flip(der: bytes, at: int) -> bytes:
    return der[:at] + bytes((der[at] ^ 1,)) + der[at + 1 :]


@pytest.mark.parametrize("file", [f for f in FILES if f.name != REFUSED], ids=lambda f: f.name)
def test_a_changed_name_breaks_the_proof_of_possession(file: Path) -> None:
    der = parse_csr(file.read_bytes()).der
    with pytest.raises(Unverified, match="not signed with its own key"):
        parse_csr(flip(der, der.index(b"corp.example")))


@pytest.mark.parametrize("file", [f for f in FILES if f.name != REFUSED], ids=lambda f: f.name)
def test_a_changed_signature_breaks_the_proof_of_possession(file: Path) -> None:
    der = parse_csr(file.read_bytes()).der
    with pytest.raises((Unverified, Malformed)):
        parse_csr(flip(der, len(der) - 1))


def test_somebody_elses_key_is_refused() -> None:
    spki = ec.generate_private_key(ec.SECP256R1()).public_key()
    info = tlv(0x30, b"\x02\x01\x00", SUBJECT, spki.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(Unverified):
        parse_csr(signed(info, ECDSA))


def test_a_signature_of_another_kind_than_the_key_is_refused() -> None:
    info = tlv(0x30, b"\x02\x01\x00", SUBJECT, spki_for(ECDSA))
    with pytest.raises(Unverified):
        parse_csr(signed(info, ED25519))


def test_a_signature_without_content_is_refused() -> None:
    info = tlv(0x30, b"\x02\x01\x00", SUBJECT, spki_for(ED25519))
    with pytest.raises(Unverified):
        parse_csr(tlv(0x30, info, encode_algorithm(ED25519), b"\x03\x01\x00"))


# What is refused

NUL_IN_NAME = b"web.corp.example\0.evil.example"
TWICE = wish(dns_names("a.example"))
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "text": b"please sign this",
    "a NUL": b"\0",
    "a lonely header": b"\x30",
    "too long": request(attribute("1.2.840.113549.1.9.7", tlv(0x0C, bytes(MAX_REQUEST_SIZE)))),
    "field behind the signature": tlv(0x30, read_element(PLAIN, "it").content, b"\x05\x00"),
    "version 2": request(version=b"\x02\x01\x01"),
    "no version": request(version=b""),
    "subject is a SET": request(subject=b"\x31\x00"),
    "NUL in the subject": request(subject=common_name(NUL_IN_NAME.decode())),
    "NUL in a DNS name": request(wish(dns_names(NUL_IN_NAME.decode()))),
    "NUL in a mail address": request(wish(extension("2.5.29.17", tlv(0x30, tlv(0x81, b"a@b\0.example"))))),
    "NUL in a URI": request(wish(extension("2.5.29.17", tlv(0x30, tlv(0x86, b"https://a\0.example/"))))),
    "address of 5 octets": request(wish(extension("2.5.29.17", tlv(0x30, tlv(0x87, b"12345"))))),
    "no names in the list of names": request(wish(extension("2.5.29.17", tlv(0x30)))),
    "names are no list": request(wish(extension("2.5.29.17", b"\x05\x00"))),
    "names end early": request(wish(extension("2.5.29.17", tlv(0x30, tlv(0x82, b"a.example"))[:-1]))),
    "extension twice": request(wish(dns_names("a.example"), dns_names("b.example"))),
    "attribute twice": request(CHALLENGE, CHALLENGE),
    "wish twice": request(TWICE, TWICE),
    "two different wishes": request(wish(dns_names("a.example")), wish(dns_names("b.example"), oid_=MICROSOFT)),
    "wish with two values": request(tlv(0x30, oid(EXTENSION_REQUEST), tlv(0x31, tlv(0x30), tlv(0x30)))),
    "wish without a value": request(tlv(0x30, oid(EXTENSION_REQUEST), tlv(0x31))),
    "wish is no list": request(attribute(EXTENSION_REQUEST, tlv(0x0C, b"CA:TRUE"))),
    "attribute is a SET": request(tlv(0x31, oid("1.2.3"), tlv(0x31))),
    "attribute's values are a SEQUENCE": request(tlv(0x30, oid("1.2.3"), tlv(0x30))),
    "attribute with a field too many": request(tlv(0x30, oid("1.2.3"), tlv(0x31), b"\x05\x00")),
    "critical is neither": request(wish(tlv(0x30, oid("2.5.29.15"), b"\x01\x01\x05", tlv(0x04, b"\x03\x01\x00")))),
    "field behind the attributes": request(more=b"\x05\x00"),
    "trailing data": PLAIN + b"\0",
    "trailing data in base64": base64.b64encode(PLAIN + b"\0"),
    "BER length": b"\x30\x83\x00" + PLAIN[2:],
    "BER indefinite": b"\x30\x80" + PLAIN[3:] + b"\0\0",
    "two requests": (ARMOURED + ARMOURED).encode(),
    "a certificate": pem_encode("CERTIFICATE", PLAIN).encode(),
    "a private key": pem_encode("PRIVATE KEY", PLAIN).encode(),
    "PEM without its end": ARMOURED[:-30].encode(),
    "PEM that is no base64": b"-----BEGIN CERTIFICATE REQUEST-----\n!!!\n-----END CERTIFICATE REQUEST-----\n",
    "signature with unused bits": PLAIN[:-65] + b"\x01" + PLAIN[-64:],
    "key with unused bits": request(spki=spki_for(ED25519).replace(b"\x03\x21\x00", b"\x03\x21\x07")),
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_requests_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_csr(data)
    assert caught.value.detail


@pytest.mark.parametrize("cut", range(0, len(PLAIN), 5))
def test_truncated_requests_are_refused(cut: int) -> None:
    with pytest.raises(Malformed):
        parse_csr(PLAIN[:cut])


def test_what_was_sent_instead_is_named() -> None:
    with pytest.raises(Malformed, match="PRIVATE KEY"):
        parse_csr(BROKEN["a private key"])


def spki_of(make: Callable[[], x25519.X25519PrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey]) -> bytes:
    return make().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "make",
    [
        x25519.X25519PrivateKey.generate,
        lambda: dsa.generate_private_key(2048),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    ],
    ids=["x25519", "dsa", "secp256k1", "brainpool"],
)
def test_keys_outside_the_table_are_refused(
    make: Callable[[], x25519.X25519PrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey],
) -> None:
    with pytest.raises(UnsupportedAlgorithm):
        parse_csr(request(spki=spki_of(make)))


def test_a_giant_rsa_key_is_not_computed_with() -> None:
    modulus = tlv(0x02, ((1 << 20000) + 1).to_bytes(2501, "big"))
    key = tlv(0x30, modulus, b"\x02\x03\x01\x00\x01")
    spki = tlv(0x30, tlv(0x30, oid("1.2.840.113549.1.1.1"), b"\x05\x00"), tlv(0x03, b"\0", key))
    with pytest.raises((Malformed, UnsupportedAlgorithm)):
        parse_csr(request(spki=spki))


def read(data: bytes) -> None:
    with contextlib.suppress(PkiconfError):
        parse_csr(data)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_garbage_raises_only_our_errors(data: bytes) -> None:
    read(data)


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_text_raises_only_our_errors(text: str) -> None:
    read(text.encode("utf-8", "surrogatepass"))
    read(b"-----BEGIN CERTIFICATE REQUEST-----\n" + text.encode("utf-8", "surrogatepass"))


SEEDS = [parse_csr(f.read_bytes()).der for f in FILES if f.name != REFUSED and not f.name.startswith("ml-dsa")]


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=500, deadline=None)
def test_damage_raises_only_our_errors(der: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(der) - 1))
    read(der[:at] + data.draw(st.binary(max_size=3)) + der[at + data.draw(st.integers(0, 3)) :])


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_damage_under_a_good_signature_raises_only_our_errors(data: st.DataObject) -> None:
    info = tlv(0x30, b"\x02\x01\x00", SUBJECT, spki_for(ED25519), tlv(0xA0, CHALLENGE, wish(dns_names("a.example"))))
    at = data.draw(st.integers(2, len(info) - 1))
    read(signed(info[:at] + data.draw(st.binary(min_size=1, max_size=1)) + info[at + 1 :]))


# What we make

SAN = Extension("2.5.29.17", False, tlv(0x30, tlv(0x82, b"a.example")))
USAGE = Extension("2.5.29.15", True, b"\x03\x02\x07\x80")


@pytest.mark.row("F43")
@pytest.mark.parametrize("algorithm", SIGNATURE_ALGORITHMS.values(), ids=lambda row: row.name)
def test_a_stranger_reads_and_verifies_our_request(algorithm: SignatureAlgorithm) -> None:
    info = encode_csr_info(SUBJECT, spki_for(algorithm), [USAGE, SAN])
    der = assemble_csr(info, algorithm, sign(algorithm, info))
    theirs = x509.load_der_x509_csr(der)
    assert theirs.is_signature_valid
    assert theirs.public_key() == key_for(algorithm).public_key()
    assert [each.oid.dotted_string for each in theirs.extensions] == ["2.5.29.15", "2.5.29.17"]
    assert [each.critical for each in theirs.extensions] == [True, False]
    parsed = parse_csr(der)
    assert (parsed.extensions, parsed.sans) == ((USAGE,), (DNSName("a.example"),))


@pytest.mark.parametrize("name", ["sha256WithRSAEncryption", "rsassaPss-sha512", "ecdsa-with-SHA512", "Ed448"])
def test_openssl_and_gnutls_accept_our_request(name: str, tmp_path: Path) -> None:
    algorithm = SIGNATURE_ALGORITHMS[name]
    info = encode_csr_info(SUBJECT, spki_for(algorithm), [SAN])
    file = tmp_path / "a.csr"
    file.write_text(pem_encode("CERTIFICATE REQUEST", assemble_csr(info, algorithm, sign(algorithm, info))))
    text = accepted(run_tool("openssl", "req", "-in", file, "-noout", "-verify", "-text"))
    assert "DNS:a.example" in text
    assert "DNSname: a.example" in accepted(run_tool("certtool", "--crq-info", "--infile", file))


def test_without_extensions_the_list_of_attributes_is_empty() -> None:
    info = encode_csr_info(SUBJECT, spki_for(ED25519))
    assert info.endswith(b"\xa0\x00")
    assert x509.load_der_x509_csr(assemble_csr(info, ED25519, sign(ED25519, info))).is_signature_valid


def test_an_extension_given_twice_is_refused() -> None:
    with pytest.raises(Malformed, match="twice"):
        encode_csr_info(SUBJECT, spki_for(ED25519), [SAN, SAN])


def test_the_constructed_vectors_can_be_made_again() -> None:
    assert construct.ml_dsa(44) == (VECTORS / "ml-dsa-44.pem").read_bytes()
    assert parse_csr(construct.windows()).sans == parse_csr((VECTORS / "windows-certreq.pem").read_bytes()).sans
    assert parse_csr(construct.strongswan()).sans == NAMES["strongswan"]
