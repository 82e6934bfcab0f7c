"""A CSR beside its order (RFC 8555 §7.4). The requests are made by a stranger's library."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.csr import parse_csr
from pkiconf.model.acme import ACMEProblem, Identifier, ProblemType
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.names import DNSName
from pkiconf.model.request import CertificateRequest, PublicKeyFacts
from pkiconf.policy.acme.csr import check_csr, is_key_of, wanted
from tests.acme.place import identifiers, make_account_key

KEY = ec.generate_private_key(ec.SECP256R1())
ACCOUNT = make_account_key()


def request(
    sans: Sequence[x509.GeneralName] | None = None,
    subject: Sequence[tuple[x509.ObjectIdentifier, str]] = (),
    key: CertificateIssuerPrivateKeyTypes = KEY,
    extensions: Sequence[x509.ExtensionType] = (),
) -> CertificateRequest:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if sans is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else SHA256()
    return parse_csr(builder.sign(key, digest).public_bytes(Encoding.DER))


def dns(*values: str) -> list[x509.GeneralName]:
    return [x509.DNSName(value) for value in values]


def cn(value: str) -> list[tuple[x509.ObjectIdentifier, str]]:
    return [(NameOID.COMMON_NAME, value)]


def check(ordered: tuple[Identifier, ...], asked: CertificateRequest, jwk: str = ACCOUNT.jwk) -> None:
    check_csr(ordered, asked, jwk)


def and_web(name: x509.GeneralName) -> CertificateRequest:
    return request([*dns("web.corp.example"), name])


OTHER = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")
DIRECTORY = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]))
WEB = identifiers("web.corp.example")
TWO = identifiers("web.corp.example", "www.corp.example")


@pytest.mark.parametrize(
    ("ordered", "asked"),
    [
        (WEB, request(dns("web.corp.example"))),
        (WEB, request(dns("WEB.Corp.example"))),
        (WEB, request(dns("web.corp.example", "web.corp.example"), cn("Web.corp.example"))),
        (WEB, request(None, cn("web.corp.example"))),
        (TWO, request(dns("www.corp.example", "web.corp.example"))),
        (TWO, request(dns("www.corp.example"), cn("web.corp.example"))),
        (WEB, request(dns("web.corp.example"), [(NameOID.ORGANIZATION_NAME, "Somebody else")])),
        (
            WEB,
            request(
                dns("web.corp.example"),
                extensions=[
                    x509.BasicConstraints(True, 0),
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]),
                    x509.TLSFeature([x509.TLSFeatureType.status_request]),
                ],
            ),
        ),
        (identifiers("192.0.2.1"), request([x509.IPAddress(ipaddress.ip_address("192.0.2.1"))])),
        (identifiers("192.0.2.1"), request(None, cn("192.0.2.1"))),
        (identifiers("192.0.2.1"), request(dns("192.0.2.1"))),  # as old clients write it
        (identifiers("2001:db8::1"), request([x509.IPAddress(ipaddress.ip_address("2001:db8::1"))])),
        (identifiers("*.corp.example", "corp.example"), request(dns("corp.example", "*.corp.example"))),
        (identifiers("münchen.example"), request(dns("xn--mnchen-3ya.example"), cn("münchen.example"))),
    ],
)  # fmt: skip
def test_as_stock_software_writes_it(ordered: tuple[Identifier, ...], asked: CertificateRequest) -> None:
    check(ordered, asked)


@pytest.mark.parametrize(
    ("ordered", "asked", "says"),
    [
        (WEB, request(dns("web.corp.example", "evil.example")), "asks for evil.example"),
        (WEB, request(dns("web.corp.example"), cn("evil.example")), "asks for evil.example"),
        (WEB, request(dns("*.corp.example")), "asks for \\*.corp.example"),
        (WEB, request(dns("web.corp.example"), cn("*.corp.example")), "asks for \\*.corp.example"),
        (WEB, and_web(x509.IPAddress(ipaddress.ip_address("10.0.0.1"))), "asks for 10.0.0.1"),
        (WEB, request(dns("web.corp.example"), cn("10.0.0.1")), "asks for 10.0.0.1"),
        (TWO, request(dns("web.corp.example")), "lacks www.corp.example"),
        (WEB, request(None), "lacks web.corp.example"),
        (WEB, and_web(x509.RFC822Name("ceo@corp.example")), "email:ceo@corp.example"),
        (WEB, and_web(x509.UniformResourceIdentifier("spiffe://a/b")), "uri:spiffe"),
        (WEB, and_web(x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))), "rid:1.2.3"),
        (WEB, and_web(OTHER), "othername"),
        (WEB, and_web(DIRECTORY), "dirname"),
        (WEB, request(dns("web.corp.example"), [(NameOID.EMAIL_ADDRESS, "ceo@corp.example")]), "ceo@corp.example"),
        (WEB, request(dns("web.corp.example"), [(NameOID.ORGANIZATION_NAME, "ceo@corp.example")]), "ceo@corp.example"),
        (WEB, request(dns("web.corp.example"), cn("ceo@corp.example")), "common name"),
        (WEB, request(dns("web.corp.example"), cn("Corp Webserver")), "common name"),
        (WEB, request(dns("web.corp.example"), [*cn("web.corp.example"), *cn("evil.example")]), "for evil.example"),
        (WEB, request(dns("web.corp.example"), cn("web.corp.example.")), "common name"),
    ],
)  # fmt: skip
def test_what_the_order_does_not_prove(ordered: tuple[Identifier, ...], asked: CertificateRequest, says: str) -> None:
    with pytest.raises(ACMEProblem, match=says) as caught:
        check(ordered, asked)
    assert caught.value.problem.type is ProblemType.BAD_CSR


NAMES = [f"{label}.corp.example" for label in "abcd"]


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sets(st.sampled_from(NAMES)))
def test_only_just_the_names_of_the_order(ordered: set[str], asked: set[str]) -> None:
    """Whichever name is beyond or missing is found, wherever it stands."""
    wish = request(dns(*sorted(asked)) if asked else None)
    if ordered == asked:
        check(identifiers(*ordered), wish)
        return
    with pytest.raises(ACMEProblem) as caught:
        check(identifiers(*ordered), wish)
    different = asked - ordered or ordered - asked
    assert all(name in caught.value.problem.detail for name in different)


def test_the_account_key_cannot_be_certified() -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ACMEProblem, match="account's own key"):
        check(WEB, request(dns("web.corp.example"), key=own), make_account_key(own).jwk)


def _b64(number: int) -> str:
    import base64

    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()


def _raw(key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) -> int:
    return int.from_bytes(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def test_keys_of_every_kind_are_compared() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    ed, ed4 = ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()
    jwks = [
        {"kty": "RSA", "n": _b64(rsa_key.public_key().public_numbers().n), "e": "AQAB"},
        {"kty": "OKP", "crv": "Ed25519", "x": _b64(_raw(ed))},
        {"kty": "OKP", "crv": "Ed448", "x": _b64(_raw(ed4))},
        json.loads(make_account_key(KEY).jwk),
    ]
    asked = [request(dns("web.corp.example"), key=key) for key in (rsa_key, ed, ed4, KEY)]
    for row, jwk in enumerate(jwks):
        assert [is_key_of(json.dumps(jwk), one) for one in asked] == [row == column for column in range(len(asked))]


def test_a_weak_key_is_said_in_words() -> None:
    good = request(dns("web.corp.example"))
    weak = CertificateRequest(
        good.der, good.subject, good.spki, PublicKeyFacts(rsa_facts.type, 1024, modulus=1 << 1023 | 1, exponent=65537),
        good.sans,
    )  # fmt: skip
    with pytest.raises(ACMEProblem, match="1024 bits is too short") as caught:
        check(WEB, weak)
    assert caught.value.problem.type is ProblemType.BAD_CSR


rsa_facts = request(dns("web.corp.example"), key=rsa.generate_private_key(65537, 2048)).key


def test_the_order_decides_what_the_certificate_says() -> None:
    subject = [*cn("WWW.corp.example"), (NameOID.ORGANIZATION_NAME, "Evil")]
    asked = request(dns("WWW.corp.example", "web.corp.example"), subject, extensions=[x509.BasicConstraints(True, 0)])
    made = wanted(TWO, asked, 1_900_000_000, None)
    assert made.sans == (DNSName("web.corp.example"), DNSName("www.corp.example"))
    assert [(a.oid, a.value) for a in made.subject.attributes] == [(COMMON_NAME, "www.corp.example")]
    assert made.extensions == ()
    assert made.spki == asked.spki
    assert made.overrides.not_before is not None
    assert made.overrides.not_after is None


@pytest.mark.parametrize("subject", [(), [(NameOID.ORGANIZATION_NAME, "Evil")]])
def test_without_a_common_name_the_subject_stays_empty(subject: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    assert wanted(WEB, request(dns("web.corp.example"), subject), None, None).subject.rdns == ()


def test_a_name_too_long_for_a_common_name_stays_out_of_it() -> None:
    long = ".".join(["a" * 60, "b" * 10, "corp.example"])
    ordered = identifiers(long, "web.corp.example")
    made = wanted(ordered, request(dns(long, "web.corp.example")), None, None)
    assert made.subject.rdns == ()
    assert len(made.sans) == 2
