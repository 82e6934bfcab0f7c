"""Certificates of authorities, whole chains, and what no request can change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.clock import SystemClock
from pkiconf.der import oids
from pkiconf.der.certificate import encode_tbs_certificate
from pkiconf.der.extensions import subject_key_identifier
from pkiconf.der.keys import key_identifier
from pkiconf.der.names import encode_name, parse_name_text
from pkiconf.errors import Malformed, Refused, UnsupportedAlgorithm
from pkiconf.model.certificate import Extension, IssuerFacts, TBSCertificate
from pkiconf.model.keys import Hash, Padding, get_key_algorithm, get_signature_algorithm
from pkiconf.model.names import Attribute, Name
from pkiconf.model.request import Overrides, Wanted
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage
from pkiconf.policy.authority import authority_defaults, ca_overrides, ca_template, service_template
from pkiconf.policy.lints import LintContext, check_lints
from pkiconf.policy.template import CompiledTemplate, check_template, compile_template, evaluate
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.template import TemplateSpec
from tests.judges.pkilint import pkilint_findings
from tests.policy.issuing import NOW, SERIAL, constraints, issuer_facts, signed, spki, template, wanted, wishes
from tests.policy.reading import describe
from tests.tools import accepted, run_tool

EVER, NEVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
ROOT = "CN=Corp Root CA,O=Example Corp,C=NL"
SUB = "CN=Corp Issuing CA 1,O=Example Corp,C=NL"


def authority(**explicit: Any) -> AuthoritySpec:
    fields = {"name": "corp", **explicit}
    return AuthoritySpec.model_validate(authority_defaults(fields, 0, fields.get("issuer", "self") == "self"))


def root_facts(key: str = "ec-p384", **changes: Any) -> IssuerFacts:
    """A root before its own certificate exists: nothing above limits it."""
    unlimited: dict[str, Any] = {"not_before": EVER, "not_after": NEVER, "path_length": None}
    subject = encode_name(parse_name_text(ROOT))
    return issuer_facts(key, authority="corp-root", subject=subject, **{**unlimited, **changes})


def of_authority(subject: str, key: str, overrides: Overrides | None = None) -> Wanted:
    return wanted(subject, key=key, overrides=overrides)


def read(tbs: TBSCertificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(signed(tbs))


def root_certificate(spec: AuthoritySpec | None = None, key: str = "ec-p384") -> TBSCertificate:
    spec = spec or authority()
    return evaluate(ca_template(spec), of_authority(ROOT, key, ca_overrides(spec)), root_facts(key), SERIAL, NOW)


@pytest.mark.row("F42")
def test_a_root_signs_itself_and_points_nowhere() -> None:
    said = describe(read(root_certificate()))
    assert (said["ca"], said["path_length"]) == (True, None)
    assert (said["ocsp"], said["aia"], said["crl"]) == ([], [], [])
    assert said["critical"] == ["basicConstraints", "keyUsage"]
    assert said["key_usage"] == ["keyCertSign", "cRLSign"]
    assert said["not_after"] == "2036-03-01T11:59:59Z"


@pytest.mark.parametrize(
    "key", ["rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"]
)
@pytest.mark.row("F42")
def test_a_root_of_every_kind_of_key_is_well_formed(key: str) -> None:
    tbs = root_certificate(key=key)
    check_lints(encode_tbs_certificate(tbs), LintContext(issuer=root_facts(key), self_issued=True))
    assert pkilint_findings(signed(tbs), "certificate") == []
    certificate = read(tbs)
    certificate.verify_directly_issued_by(certificate)


@pytest.mark.row("F37")
def test_the_ends_that_a_declaration_fixes_are_a_roots_ends() -> None:
    spec = authority(not_before="2026-04-01T00:00:00Z", not_after="2050-12-31T23:59:59Z")
    said = describe(read(root_certificate(spec)))
    assert (said["not_before"], said["not_after"]) == ("2026-04-01T00:00:00Z", "2050-12-31T23:59:59Z")


@pytest.mark.row("F38")
def test_a_roots_own_limits_do_not_limit_its_own_certificate() -> None:
    facts = root_facts(path_length=0, constraints=(constraints(["dirname:O=Somebody Else"]),))
    spec = authority(path_length=0)
    tbs = evaluate(ca_template(spec), of_authority(ROOT, "ec-p384"), facts, SERIAL, NOW)
    assert describe(read(tbs))["path_length"] == 0


def test_a_roots_renewal_outlives_its_former_certificate() -> None:
    facts = root_facts(not_before=EVER, not_after=NOW + timedelta(days=30))
    tbs = evaluate(ca_template(authority()), of_authority(ROOT, "ec-p384"), facts, SERIAL, NOW)
    assert tbs.not_after == datetime(2036, 3, 1, 11, 59, 59, tzinfo=UTC)


def test_a_root_keeps_the_identifier_that_others_point_to() -> None:
    facts = root_facts(ski=b"from-elsewhere")
    tbs = evaluate(ca_template(authority()), of_authority(ROOT, "ec-p384"), facts, SERIAL, NOW)
    said = {extension.oid: extension.value for extension in tbs.extensions}
    assert said[oids.SUBJECT_KEY_IDENTIFIER] == subject_key_identifier(b"from-elsewhere").value
    assert b"from-elsewhere" in said[oids.AUTHORITY_KEY_IDENTIFIER]


@pytest.mark.row("F45")
def test_a_subordinate_keeps_the_identifier_it_asks_for() -> None:
    request = wanted(SUB, key="ec-p256", asks={"ca": True, "ski": "00112233445566778899"})
    tbs = evaluate(ca_template(authority(issuer="corp-root")), request, root_facts(), SERIAL, NOW)
    assert Extension(oids.SUBJECT_KEY_IDENTIFIER, False, bytes.fromhex("040a00112233445566778899")) in tbs.extensions


@pytest.mark.parametrize("ski", ["00", "00" * 33])
def test_an_identifier_that_is_none_is_made_anew(ski: str) -> None:
    request = wanted(SUB, key="ec-p256", asks={"ski": ski})
    tbs = evaluate(ca_template(authority(issuer="corp-root")), request, root_facts(), SERIAL, NOW)
    assert subject_key_identifier(key_identifier(spki("ec-p256"))) in tbs.extensions


def test_an_end_entity_never_chooses_its_identifier() -> None:
    ski = key_identifier(spki("ec-p384")).hex()  # the authority's own
    tbs = evaluate(template(), wanted(asks={"ski": ski}), issuer_facts(), SERIAL, NOW)
    assert subject_key_identifier(key_identifier(spki("ec-p256"))) in tbs.extensions


def test_a_cross_certificate_points_to_who_signed_it() -> None:
    """Old key signs new: same subject, another key; no root any more, and it costs no path length."""
    facts = root_facts(path_length=0)
    tbs = evaluate(ca_template(authority(path_length=0)), of_authority(ROOT, "ec-p256"), facts, SERIAL, NOW)
    said = describe(read(tbs))
    assert (said["ocsp"], said["crl"]) == ([facts.ocsp_url], [facts.crl_url])
    assert said["path_length"] == 0


def test_a_cross_certificate_is_longer_than_its_signer_allows() -> None:
    facts = root_facts(path_length=0)
    with pytest.raises(Refused, match="path length 1 does not fit below"):
        evaluate(ca_template(authority(path_length=1)), of_authority(ROOT, "ec-p256"), facts, SERIAL, NOW)


@pytest.mark.row("F37")
def test_a_subordinate_ends_with_its_root() -> None:
    facts = root_facts(not_after=NOW + timedelta(days=100))
    spec = authority(issuer="corp-root", validity="5y")
    tbs = evaluate(ca_template(spec), of_authority(SUB, "ec-p256"), facts, SERIAL, NOW)
    assert tbs.not_after == facts.not_after


@pytest.mark.row("F37")
def test_a_subordinate_declared_to_outlive_its_root_is_refused() -> None:
    facts = root_facts(not_after=NOW + timedelta(days=100))
    spec = authority(issuer="corp-root", not_after="2040-01-01T00:00:00Z")
    with pytest.raises(Refused, match="lies beyond the end of authority 'corp-root'"):
        evaluate(ca_template(spec), of_authority(SUB, "ec-p256", ca_overrides(spec)), facts, SERIAL, NOW)


def chain(now: datetime) -> dict[str, x509.Certificate]:
    """A root, a subordinate with name constraints below it, and a web server's certificate."""
    spec = authority(issuer="corp-root", name_constraints={"permitted": {"dns": ["corp.example"]}})
    own = ca_template(authority(path_length=1))
    root = evaluate(own, of_authority(ROOT, "ec-p384"), root_facts(), SERIAL, now)
    sub = evaluate(ca_template(spec), of_authority(SUB, "rsa-2048"), root_facts(path_length=1), SERIAL + 1, now)
    facts = issuer_facts(
        "rsa-2048", not_before=sub.not_before, not_after=sub.not_after, constraints=(constraints(["dns:corp.example"]),)
    )
    leaf = evaluate(template(), wanted(sans=["dns:web.corp.example"]), facts, SERIAL + 2, now)
    return {"leaf": read(leaf), "sub": read(sub), "root": read(root)}


@pytest.mark.row("F9", "F54")
def test_a_whole_chain_is_believed_by_openssl_and_gnutls(tmp_path: Path) -> None:
    certificates = chain(SystemClock().now())  # certtool cannot be told the time
    for name, certificate in certificates.items():
        (tmp_path / name).write_bytes(certificate.public_bytes(Encoding.PEM))
    root, sub, leaf, whole = (tmp_path / name for name in ("root", "sub", "leaf", "whole"))
    accepted(
        run_tool("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, "-untrusted", sub, leaf)
    )
    whole.write_bytes(leaf.read_bytes() + sub.read_bytes() + root.read_bytes())
    accepted(run_tool("certtool", "--verify", "--load-ca-certificate", root, "--infile", whole))


@pytest.mark.row("F9", "F54")
def test_a_whole_chain_is_believed_by_cryptography() -> None:
    certificates = chain(NOW)
    verifier = PolicyBuilder().store(Store([certificates["root"]])).time(NOW + timedelta(minutes=1))
    server = verifier.build_server_verifier(x509.DNSName("web.corp.example"))
    assert len(server.verify(certificates["leaf"], [certificates["sub"]])) == 3


@pytest.mark.parametrize("purpose", ["ocsp", "tsa", "tls"])
@pytest.mark.row("F51")
def test_service_certificates_are_well_formed(purpose: str) -> None:
    facts = issuer_facts()
    sans = ["dns:pki.corp.example"] if purpose == "tls" else []
    request = wanted("CN=Corp Issuing CA 1 responder,O=Example Corp", sans)
    tbs = evaluate(service_template(purpose, authority()), request, facts, SERIAL, NOW)
    check_lints(encode_tbs_certificate(tbs), LintContext(issuer=facts))
    assert pkilint_findings(signed(tbs), "certificate") == []


# RFC 3161 wants timeStamping alone, and anyExtendedKeyUsage says all of it.
ALL_USAGES = [usage for usage in EXTENDED_KEY_USAGES if usage not in ("timeStamping", "anyExtendedKeyUsage")]
EVERYTHING = {
    "validity": "2y",
    "key_usage": {"critical": False, "values": ["digitalSignature", "nonRepudiation", "keyAgreement"]},
    "extended_key_usage": {"critical": True, "values": [*ALL_USAGES, "1.3.6.1.4.1.99999.7"]},
    "extensions": {
        "cps": True,
        "policies": [{"oid": "ev"}, {"oid": "1.3.6.1.4.1.99999.2", "notice": "Für Prüfungen"}],
        "must_staple": True,
        "custom": [{"oid": "1.3.6.1.4.1.311.20.2", "der": "1e0a00530075006200430041"}],
    },
}
EVERY_NAME = [
    "dns:web.corp.example",
    "dns:*.corp.example",
    "ip:192.0.2.1",
    "ip:2001:db8::1",
    "uri:https://corp.example/x?y",
    "email:me@corp.example",
    "rid:1.3.6.1.4.1.99999.9",
    "dirname:CN=me,O=Example Corp,C=NL",
    "othername:1.3.6.1.4.1.311.20.2.3;UTF8:me@corp.example",
]


@pytest.mark.row("F65", "F67", "F68", "F69", "F77")
def test_everything_at_once_is_well_formed() -> None:
    facts = issuer_facts()
    tbs = evaluate(template(description="All of it", **EVERYTHING), wanted(sans=EVERY_NAME), facts, SERIAL, NOW)
    check_lints(encode_tbs_certificate(tbs), LintContext(issuer=facts))
    assert pkilint_findings(signed(tbs), "certificate") == []
    assert len(describe(read(tbs))["sans"]) == len(EVERY_NAME)


@pytest.mark.row("F66")
def test_the_public_key_is_copied_byte_for_byte() -> None:
    request = replace(wanted(), spki=spki("ec-p256"))
    assert evaluate(template(), request, issuer_facts(), SERIAL, NOW).spki is request.spki


def test_the_serial_number_and_the_issuer_stand_as_they_are_given() -> None:
    tbs = evaluate(template(), wanted(), issuer_facts(), SERIAL, NOW)
    assert (tbs.serial_number, tbs.issuer) == (SERIAL, issuer_facts().subject)


@pytest.mark.parametrize("key", ["rsa-2048", "ec-p384"])
@pytest.mark.row("F40", "F63")
def test_a_templates_hash_keeps_the_issuers_padding(key: str) -> None:
    padding = Padding.PSS if key == "rsa-2048" else None
    facts = issuer_facts(key, signature=get_signature_algorithm(get_key_algorithm(key), padding=padding))
    tbs = evaluate(template(signature_hash="sha512"), wanted(), facts, SERIAL, NOW)
    assert (tbs.signature.hash, tbs.signature.padding) == (Hash.SHA512, padding)


@pytest.mark.parametrize("key", ["ed25519", "ed448", "ml-dsa-65"])
@pytest.mark.row("F40")
def test_a_hash_that_the_issuers_key_fixes_itself_cannot_be_chosen(key: str) -> None:
    with pytest.raises(UnsupportedAlgorithm):
        evaluate(template(signature_hash="sha256"), wanted(), issuer_facts(key), SERIAL, NOW)
    with pytest.raises(UnsupportedAlgorithm):
        check_template(template(signature_hash="sha256"), get_key_algorithm(key))


@pytest.mark.row("F40")
def test_a_template_that_an_issuer_can_serve() -> None:
    check_template(template(signature_hash="sha256"), get_key_algorithm("rsa-3072"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"key_usage": {"values": ["keyCertSign"]}}, "keyCertSign is for authorities"),
        ({"basic_constraints": {"ca": True}}, "an authority needs keyCertSign"),
        ({"name_constraints": {"permitted": {"dns": ["corp.example"]}}}, "name_constraints are for authorities"),
        ({"basic_constraints": {"path_length": 0}}, "has no meaning here"),
        ({"extensions": {"policies": [{"oid": "dv"}, {"oid": "2.23.140.1.2.1"}]}}, "one twice"),
    ],
)
def test_fields_that_contradict_each_other_compile_to_nothing(fields: dict[str, Any], reason: str) -> None:
    """Left over from what stood before, where the vocabulary judges only what was written together."""
    spec = TemplateSpec.model_validate({"name": "t", "authority": "corp", **fields})
    with pytest.raises(Refused, match=reason):
        compile_template(spec)


def test_a_compiled_template_says_the_same() -> None:
    compiled = compile_template(template())
    assert isinstance(compiled, CompiledTemplate)
    for _ in range(2):
        assert evaluate(compiled, wanted(), issuer_facts(), SERIAL, NOW) == evaluate(
            template(), wanted(), issuer_facts(), SERIAL, NOW
        )


def test_evaluating_for_one_issuer_leaves_nothing_behind_for_another() -> None:
    compiled = compile_template(template(extensions={"cps": True}))
    one = evaluate(compiled, wanted(), issuer_facts(), SERIAL, NOW)
    other = issuer_facts(
        ski=b"12345678901234567890", ocsp_url="http://o.example/", aia_url="http://a.example/",
        crl_url="http://c.example/", cps_url="http://p.example/",
    )  # fmt: skip
    said = describe(read(evaluate(compiled, wanted(), other, SERIAL, NOW)))
    assert (said["ocsp"], said["aia"], said["crl"]) == (
        ["http://o.example/"],
        ["http://a.example/"],
        ["http://c.example/"],
    )
    assert said["policies"] == {"2.5.29.32.0": ["http://p.example/"]}
    assert evaluate(compiled, wanted(), issuer_facts(), SERIAL, NOW) == one


some_wishes = st.fixed_dictionaries(
    {},
    optional={
        "ca": st.booleans(),
        "key_usage": st.lists(st.sampled_from(list(KeyUsage)), min_size=1, unique=True),
        "extended_key_usage": st.lists(st.sampled_from([*EXTENDED_KEY_USAGES, "1.2.3.4"]), min_size=1, unique=True),
        "ski": st.binary(min_size=1, max_size=40).map(bytes.hex),
    },
)
some_extensions = st.builds(
    Extension,
    st.sampled_from(["1.2.3.4", *(oid for name, oid in vars(oids).items() if name.isupper() and oid[:6] == "2.5.29")]),
    st.booleans(),
    st.binary(max_size=12),
)


@given(some_wishes, st.lists(some_extensions, max_size=3), st.sampled_from(["web-server", "client", "s-mime"]))
@settings(max_examples=300)
def test_no_wish_of_a_csr_changes_the_certificate(asks: dict[str, Any], others: list[Extension], starter: str) -> None:
    """It is refused, or the certificate is the one that it would be without the wish."""
    request = wanted(sans=["dns:web.corp.example"])
    wishing = replace(request, extensions=(*wishes(asks), *others))
    try:
        tbs = evaluate(template(starter=starter), wishing, issuer_facts(), SERIAL, NOW)
    except (Refused, Malformed):
        return
    assert tbs == evaluate(template(starter=starter), request, issuer_facts(), SERIAL, NOW)


@given(st.lists(st.sampled_from([*KeyUsage]), min_size=1, unique=True))
def test_usages_of_authorities_never_get_through(usages: list[KeyUsage]) -> None:
    request = wanted(asks={"key_usage": [*usages, KeyUsage.KEY_CERT_SIGN]})
    with pytest.raises(Refused, match="keyCertSign"):
        evaluate(template(), request, issuer_facts(), SERIAL, NOW)


moments = st.datetimes(datetime(2024, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    days=st.none() | st.integers(-5, 3000),
    start=st.none() | moments,
    end=st.none() | moments,
    limit=st.none() | st.integers(1, 2000),
)
@settings(max_examples=300)
@pytest.mark.row("D6", "F92")
def test_a_validity_is_what_was_asked_for_or_refused(
    days: int | None, start: datetime | None, end: datetime | None, limit: int | None
) -> None:
    issuer = issuer_facts()
    spec = template(validity="90d", **({"max_validity": f"{limit}d"} if limit else {}))
    request = replace(wanted(), overrides=Overrides(days=days, not_before=start, not_after=end))
    try:
        tbs = evaluate(spec, request, issuer, SERIAL, NOW)
    except Refused:
        return
    assert issuer.not_before <= tbs.not_before < tbs.not_after <= issuer.not_after
    assert tbs.not_after > NOW
    assert tbs.not_before == (start or NOW).replace(microsecond=0)
    lasts = tbs.not_after - tbs.not_before + timedelta(seconds=1)
    if days is not None:
        assert lasts == timedelta(days=days)
    if end is not None:
        assert tbs.not_after == end.replace(microsecond=0)
    assert limit is None or lasts <= timedelta(days=limit)
    assert days is not None or end is not None or lasts <= timedelta(days=90)


texts = st.text(max_size=70)


@given(texts, st.lists(st.sampled_from(["dns:web.corp.example", "ip:10.0.0.1"]), max_size=2))
@settings(max_examples=300)
def test_no_common_name_of_an_allowed_request_names_another_host(text: str, sans: list[str]) -> None:
    spec = template(names={"allow": {"dns": ["*.corp.example"], "ip": ["10.0.0.0/8"]}})
    request = replace(wanted(sans=sans), subject=Name(((Attribute("2.5.4.3", text),),)))
    try:
        evaluate(spec, request, issuer_facts(), SERIAL, NOW)
    except (Refused, Malformed):
        return
    host = text.strip().rstrip(".").lower()
    is_host = host.isascii() and all(label.replace("-", "a").isalnum() for label in host.split("."))
    assert not is_host or host == "corp.example" or host.endswith(".corp.example") or host.startswith("10.")
