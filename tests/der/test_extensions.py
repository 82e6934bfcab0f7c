from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID as AccessOID
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der import extensions as ext
from pkiconf.der import oids
from pkiconf.der.extensions import PolicyInformation
from pkiconf.der.tlv import encode_sequence, encode_tlv
from pkiconf.errors import Malformed, PkiconfError, Refused
from pkiconf.model.certificate import Extension
from pkiconf.model.names import DNSName, NameConstraints, NameType
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage

SKI = bytes(range(20))
OCSP, ISSUER, CRL, CPS = (f"http://pki.example/{word}" for word in ("ocsp", "ca.crt", "ca.crl", "cps"))


def oid(dotted: str) -> x509.ObjectIdentifier:
    return x509.ObjectIdentifier(dotted)


def uri(url: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(url)


def access(method: x509.ObjectIdentifier, url: str) -> x509.AccessDescription:
    return x509.AccessDescription(method, uri(url))


def their_key_usage(*usages: KeyUsage) -> x509.KeyUsage:
    flags = [usage in usages for usage in KeyUsage]
    return x509.KeyUsage(*flags)


OCSP_ACCESS, ISSUER_ACCESS = access(AccessOID.OCSP, OCSP), access(AccessOID.CA_ISSUERS, ISSUER)
NAMES = [DNSName("a.example")]
THEIR_NAMES = x509.SubjectAlternativeName([x509.DNSName("a.example")])
USAGES = list(EXTENDED_KEY_USAGES.values())

CASES: list[tuple[Extension, x509.ExtensionType, bool]] = [
    (ext.basic_constraints(False), x509.BasicConstraints(False, None), True),
    (ext.basic_constraints(True), x509.BasicConstraints(True, None), True),
    (ext.basic_constraints(True, 0), x509.BasicConstraints(True, 0), True),
    (ext.basic_constraints(True, 3, critical=False), x509.BasicConstraints(True, 3), False),
    (
        ext.extended_key_usage(USAGES),
        x509.ExtendedKeyUsage(map(oid, USAGES)),
        False,
    ),
    (
        ext.extended_key_usage(USAGES[:1], critical=True),
        x509.ExtendedKeyUsage([oid(USAGES[0])]),
        True,
    ),
    (
        ext.subject_alternative_names(NAMES),
        THEIR_NAMES,
        False,
    ),
    (
        ext.subject_alternative_names(NAMES, critical=True),
        THEIR_NAMES,
        True,
    ),
    (ext.subject_key_identifier(SKI), x509.SubjectKeyIdentifier(SKI), False),
    (ext.authority_key_identifier(SKI), x509.AuthorityKeyIdentifier(SKI, None, None), False),
    (
        ext.authority_information_access([OCSP], []),
        x509.AuthorityInformationAccess([OCSP_ACCESS]),
        False,
    ),
    (
        ext.authority_information_access([], [ISSUER]),
        x509.AuthorityInformationAccess([ISSUER_ACCESS]),
        False,
    ),
    (
        ext.authority_information_access([OCSP, CPS], [ISSUER]),
        x509.AuthorityInformationAccess(
            [access(AccessOID.OCSP, OCSP), access(AccessOID.OCSP, CPS), access(AccessOID.CA_ISSUERS, ISSUER)]
        ),
        False,
    ),
    (
        ext.crl_distribution_points([CRL, CPS]),
        x509.CRLDistributionPoints([x509.DistributionPoint([uri(CRL), uri(CPS)], None, None, None)]),
        False,
    ),
    (
        ext.certificate_policies([PolicyInformation(oids.POLICY_DV), PolicyInformation("1.2.3", (CPS,), "Grüße")]),
        x509.CertificatePolicies(
            [
                x509.PolicyInformation(oid(oids.POLICY_DV), None),
                x509.PolicyInformation(oid("1.2.3"), [CPS, x509.UserNotice(None, "Grüße")]),
            ]
        ),
        False,
    ),
    (
        ext.certificate_policies([PolicyInformation(oids.ANY_POLICY)], critical=True),
        x509.CertificatePolicies([x509.PolicyInformation(oid(oids.ANY_POLICY), None)]),
        True,
    ),
    (
        ext.name_constraints(NameConstraints(((NameType.DNS, "corp.example"),), ((NameType.DNS, "x.corp.example"),))),
        x509.NameConstraints([x509.DNSName("corp.example")], [x509.DNSName("x.corp.example")]),
        True,
    ),
    (ext.tls_feature_must_staple(), x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
    (ext.ocsp_nocheck(), x509.OCSPNoCheck(), False),
    (ext.custom(oids.CT_POISON, True, b"\x05\x00"), x509.PrecertPoison(), True),
    (ext.custom("1.2.3.4", False, b"\x0c\x01a"), x509.UnrecognizedExtension(oid("1.2.3.4"), b"\x0c\x01a"), False),
]


@pytest.mark.parametrize(("ours", "theirs", "critical"), CASES, ids=lambda value: type(value).__name__)
def test_each_extension_is_encoded_as_others_encode_it(
    ours: Extension, theirs: x509.ExtensionType, critical: bool
) -> None:
    assert ours == Extension(theirs.oid.dotted_string, critical, theirs.public_bytes())


@pytest.mark.parametrize("usage", KeyUsage)
def test_each_key_usage_alone_is_its_bit(usage: KeyUsage) -> None:
    ours = ext.key_usage([usage])
    if usage not in (KeyUsage.ENCIPHER_ONLY, KeyUsage.DECIPHER_ONLY):  # others refuse these without keyAgreement
        assert ours.value == their_key_usage(usage).public_bytes()
    assert ext.parse_key_usage(ours.value) == {usage}


@given(st.frozensets(st.sampled_from(KeyUsage), min_size=1))
def test_all_sets_of_key_usages_are_encoded_as_others_encode_them(usages: frozenset[KeyUsage]) -> None:
    ours = ext.key_usage(usages)
    assert ours.critical
    assert ext.parse_key_usage(ours.value) == usages
    if KeyUsage.KEY_AGREEMENT in usages or not usages & {KeyUsage.ENCIPHER_ONLY, KeyUsage.DECIPHER_ONLY}:
        assert ours.value == their_key_usage(*usages).public_bytes()


def test_what_was_put_in_is_read_out() -> None:
    policies = ext.certificate_policies([PolicyInformation("1.2.3", (CPS,), "n"), PolicyInformation("1.2.4")])
    assert ext.parse_basic_constraints(ext.basic_constraints(True, 2).value) == (True, 2)
    assert ext.parse_basic_constraints(ext.basic_constraints(False).value) == (False, None)
    assert ext.parse_extended_key_usage(ext.extended_key_usage(["1.2.3", "1.2.2"]).value) == ("1.2.3", "1.2.2")
    assert ext.parse_subject_key_identifier(ext.subject_key_identifier(SKI).value) == SKI
    assert ext.parse_authority_key_identifier(ext.authority_key_identifier(SKI).value) == SKI
    assert ext.parse_crl_distribution_points(ext.crl_distribution_points([CRL, CPS]).value) == (CRL, CPS)
    assert ext.parse_certificate_policies(policies.value) == ("1.2.3", "1.2.4")
    assert ext.parse_tls_feature(ext.tls_feature_must_staple().value) == (5,)
    assert ext.parse_subject_alternative_names(ext.subject_alternative_names([DNSName("a")]).value) == (DNSName("a"),)
    access_value = ext.authority_information_access([OCSP, CPS], [ISSUER]).value
    assert ext.parse_authority_information_access(access_value) == ((OCSP, CPS), (ISSUER,))


def test_identifiers_by_issuer_and_serial_number_are_read_past() -> None:
    issuer = [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root")]))]
    assert ext.parse_authority_key_identifier(x509.AuthorityKeyIdentifier(SKI, issuer, 5).public_bytes()) == SKI
    assert ext.parse_authority_key_identifier(x509.AuthorityKeyIdentifier(None, issuer, 5).public_bytes()) is None


def test_distribution_points_of_other_forms_are_read_past() -> None:
    name = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CRL1")]))
    relative = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CRL1")])
    points = [
        x509.DistributionPoint([name, uri(CRL)], None, frozenset([x509.ReasonFlags.superseded]), None),
        x509.DistributionPoint(None, relative, None, None),
        x509.DistributionPoint(None, None, None, [name]),
        x509.DistributionPoint([uri(CPS)], None, None, [name]),
    ]
    assert ext.parse_crl_distribution_points(x509.CRLDistributionPoints(points).public_bytes()) == (CRL, CPS)


def test_other_access_methods_and_locations_are_read_past() -> None:
    name = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")]))
    theirs = x509.AuthorityInformationAccess(
        [access(oid("1.2.3"), CPS), x509.AccessDescription(AccessOID.CA_ISSUERS, name), access(AccessOID.OCSP, OCSP)]
    )
    assert ext.parse_authority_information_access(theirs.public_bytes()) == ((OCSP,), ())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ext.basic_constraints(False, 0),
        lambda: ext.basic_constraints(True, -1),
        lambda: ext.key_usage([]),
        lambda: ext.extended_key_usage([]),
        lambda: ext.extended_key_usage(["1.2.3", "1.2.3"]),
        lambda: ext.subject_alternative_names([]),
        lambda: ext.subject_alternative_names([DNSName("a..b")]),
        lambda: ext.authority_information_access([], []),
        lambda: ext.authority_information_access(["pki.example/ocsp"], []),
        lambda: ext.authority_information_access([], ["http://pki.example/ü"]),
        lambda: ext.crl_distribution_points([]),
        lambda: ext.crl_distribution_points(["ca.crl"]),
        lambda: ext.certificate_policies([]),
        lambda: ext.certificate_policies([PolicyInformation("1.2.3"), PolicyInformation("1.2.3", (CPS,))]),
        lambda: ext.certificate_policies([PolicyInformation("1.2.3", ("cps",))]),
        lambda: ext.certificate_policies([PolicyInformation("1.2.3", (), "")]),
        lambda: ext.certificate_policies([PolicyInformation("1.2.3", (), "x" * 201)]),
        lambda: ext.certificate_policies([PolicyInformation("1.2.3", (), "a\nb")]),
        lambda: ext.name_constraints(NameConstraints()),
    ],
)
def test_what_rfc_5280_does_not_allow_is_refused(make: Callable[[], Extension]) -> None:
    with pytest.raises(Refused):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ext.extended_key_usage(["serverAuth"]),
        lambda: ext.certificate_policies([PolicyInformation("dv")]),
        lambda: ext.custom("2.5.29.015", False, b"\x05\x00"),
        lambda: ext.custom("1.2.3", False, b""),
        lambda: ext.custom("1.2.3", False, b"\x05\x00\x00"),
        lambda: ext.custom("1.2.3", False, b"\x30\x02\x05"),
        lambda: ext.custom("1.2.3", False, b"\x30\x80\x00\x00"),
    ],
)
def test_what_is_no_oid_or_no_der_is_malformed(make: Callable[[], Extension]) -> None:
    with pytest.raises(Malformed):
        make()


def context(number: int, content: bytes) -> bytes:
    return encode_tlv(0xA0 | number, content)


MALFORMED: dict[str, list[bytes]] = {
    "basic_constraints": [
        b"\x30\x03\x01\x01\x00",
        b"\x30\x03\x01\x01\x01",
        b"\x30\x03\x02\x01\x00",
        b"\x30\x06\x01\x01\xff\x02\x01\xff",
        b"\x30\x07\x01\x01\xff\x02\x02\x00\x01",
        b"\x30\x09\x01\x01\xff\x02\x04\x80\x00\x00\x00",
        b"\x30\x0a\x01\x01\xff\x02\x05\x00\x80\x00\x00\x00",
        b"\x30\x09\x01\x01\xff\x02\x01\x00\x02\x01\x00",
        encode_sequence([b"\x01\x01\xff", encode_tlv(0x02, b"\x7f" * 9000)]),
    ],
    "key_usage": [
        b"\x03\x01\x00",
        b"\x03\x00",
        b"\x03\x02\x07\x00",
        b"\x03\x02\x00\x80",
        b"\x03\x02\x07\x81",
        b"\x03\x02\x08\x80",
        b"\x03\x03\x06\x80\x40",
        b"\x03\x03\x00\x80\x00",
        b"\x03\x04\x00\x80\x80\x01",
        b"\x23\x04\x03\x02\x07\x80",
        b"\x04\x02\x07\x80",
    ],
    "extended_key_usage": [encode_sequence([b"\x06\x01\x2a"] * 2), encode_sequence([b"\x02\x01\x05"]), b"\x06\x01\x2a"],
    "subject_alternative_names": [encode_sequence([b"\x05\x00"])],
    "subject_key_identifier": [b"\x04\x00", b"\x03\x01\x00"],
    "authority_key_identifier": [
        encode_sequence([encode_tlv(0x80, SKI)] * 2),
        encode_sequence([encode_tlv(0x82, b"\x05"), encode_tlv(0x80, SKI)]),
        encode_sequence([encode_tlv(0x83, b"\x05")]),
        encode_sequence([encode_tlv(0xA0, b"\x05\x00")]),
        encode_tlv(0x80, SKI),
    ],
    "authority_information_access": [
        encode_sequence([encode_sequence([b"\x06\x01\x2a"])]),
        encode_sequence([encode_sequence([b"\x05\x00", encode_tlv(0x86, b"x:y")])]),
        encode_sequence([b"\x05\x00"]),
        encode_sequence([encode_sequence([b"\x06\x01\x2a", encode_tlv(0x86, b"x\x00")])]),
    ],
    "crl_distribution_points": [
        encode_sequence([b"\x05\x00"]),
        encode_sequence([encode_sequence([context(0, b"")])]),
        encode_sequence([encode_sequence([context(0, context(0, b"\x86\x02a"))])]),
        encode_sequence([encode_sequence([context(0, context(0, b"\x86\x01\xff"))])]),
    ],
    "certificate_policies": [
        encode_sequence([encode_sequence([b"\x06\x01\x2a"])] * 2),
        encode_sequence([encode_sequence([])]),
        encode_sequence([encode_sequence([b"\x05\x00"])]),
        encode_sequence([encode_sequence([b"\x06\x01\x2a", b"\x30\x00", b"\x30\x00"])]),
    ],
    "tls_feature": [encode_sequence([b"\x05\x00"]), encode_sequence([b"\x02\x00"])],
    "name_constraints": [encode_sequence([b"\x05\x00"])],
}
EVERYWHERE = [b"", b"\x30", b"\x30\x80\x00\x00", b"\x31\x00", b"\x30\x00\x00"]
EMPTY = [name for name in MALFORMED if name not in ("basic_constraints", "authority_key_identifier")]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in MALFORMED.items() for value in values + EVERYWHERE]
    + [(name, b"\x30\x00") for name in EMPTY],
)
def test_values_that_are_not_what_they_claim_are_malformed(name: str, value: bytes) -> None:
    with pytest.raises(Malformed):
        getattr(ext, f"parse_{name}")(value)


@given(st.sampled_from(sorted(MALFORMED)), st.binary(max_size=60))
def test_any_octets_are_read_or_malformed(name: str, data: bytes) -> None:
    for value in (data, encode_sequence([data]), encode_sequence([encode_sequence([data])])):
        with contextlib.suppress(Malformed):
            getattr(ext, f"parse_{name}")(value)


@given(st.sampled_from(CASES), st.data())
def test_a_changed_value_is_read_or_malformed(
    case: tuple[Extension, x509.ExtensionType, bool], data: st.DataObject
) -> None:
    changed = bytearray(case[0].value)
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    for name in MALFORMED:
        with contextlib.suppress(Malformed):
            getattr(ext, f"parse_{name}")(bytes(changed))


def test_every_error_says_something() -> None:
    with pytest.raises(PkiconfError) as refusal:
        ext.key_usage([])
    assert refusal.value.detail
    assert refusal.value.hint
