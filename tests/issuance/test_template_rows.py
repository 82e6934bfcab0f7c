"""What templates can be told, through the whole pipeline and into certificates that openssl reads out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pkiconf.der.pem import pem_encode
from pkiconf.errors import NotFound, Refused
from pkiconf.model.request import Issued, Overrides, Rejected
from pkiconf.reconciler.observe import load_plan
from pkiconf.spec.loader import load_files
from tests.keys import rsa_key
from tests.tools import accepted, run_tool
from tests.world import NOW, OPERATOR, World, make_csr

AUTHORITIES = """
settings: { base_url: http://pki.corp.example }
authorities:
  - { name: root, validity: 20y, path_length: 2, cps: { text: We are careful. } }
  - { name: policy, issuer: root, validity: 15y, path_length: 1, cps: { text: We are careful. } }
  - { name: issuing, issuer: policy, validity: 10y, cps: { text: We are careful. } }
  - { name: rsa, issuer: root, validity: 10y, key: { type: rsa, size: 3072 } }
"""
BENEATH = "http://pki.corp.example"


def declare(world: World, fields: str, name: str = "wanted", authority: str = "issuing") -> str:
    """Declare one template with these fields; its reference."""
    text = f"{AUTHORITIES}templates:\n  - {{ name: {name}, authority: {authority}, {fields} }}\n"
    recap = world.apply(text)
    assert recap.exit_code == 0, recap
    return f"{authority}/{name}"


def read_out(issued: Issued, folder: Path) -> str:
    """What openssl says of the certificate, after it has found a valid path to the root."""
    leaf, bundle, root = folder / "leaf.pem", folder / "chain.pem", folder / "trusted.pem"
    leaf.write_text(pem_encode("CERTIFICATE", issued.der))
    bundle.write_text("".join(pem_encode("CERTIFICATE", der) for der in issued.chain))
    untrusted: list[str | Path] = ["-untrusted", bundle] if issued.chain else []
    at = str(int((NOW + timedelta(minutes=1)).timestamp()))
    accepted(run_tool("openssl", "verify", "-x509_strict", "-attime", at, "-CAfile", root, *untrusted, leaf))
    return " ".join(accepted(run_tool("openssl", "x509", "-in", leaf, "-noout", "-text")).split())


def issue(world: World, template: str, csr: bytes | None = None, overrides: Overrides | None = None) -> str:
    """The certificate's text, by openssl."""
    issued = world.issued(template, csr or make_csr(), overrides)
    (world.folder / "trusted.pem").write_bytes(world.services.lookup.export("root", "pem", chain=False))
    return read_out(issued, world.folder)


def leaf(world: World, template: str, csr: bytes | None = None) -> x509.Certificate:
    return x509.load_der_x509_certificate(world.issued(template, csr or make_csr()).der)


def row(*names: str) -> Sequence[pytest.MarkDecorator]:
    return [pytest.mark.row(name) for name in names]


CASES = [
    # what is declared, what openssl reads, what it must not read
    pytest.param(
        "starter: vpn-server", ["TLS Web Server Authentication, ipsec Internet Key Exchange"], ["CA:TRUE"],
        marks=row("F55", "F68"), id="starter",
    ),
    pytest.param(
        "starter: code-signing", ["X509v3 Extended Key Usage: critical Code Signing"], ["Key Encipherment"],
        marks=row("F55", "F68"), id="starter with a critical usage",
    ),
    pytest.param(
        "key_usage: { values: [digitalSignature, nonRepudiation] }",
        ["X509v3 Key Usage: critical Digital Signature, Non Repudiation"], ["Key Encipherment"],
        marks=row("F67"), id="key usages",
    ),
    pytest.param(
        "key_usage: { critical: false, values: [digitalSignature] }",
        ["X509v3 Key Usage: Digital Signature"], ["Key Usage: critical"],
        marks=row("F67"), id="key usages, not critical",
    ),
    pytest.param(
        "extended_key_usage: { values: [serverAuth, clientAuth, msEFS] }",
        ["X509v3 Extended Key Usage: TLS Web Server Authentication, TLS Web Client Authentication, "
         "Microsoft Encrypted File System"],
        [], marks=row("F68"), id="extended key usages",
    ),
    pytest.param(
        'extended_key_usage: { values: [serverAuth, "1.3.6.1.4.1.99999.7.1", "1.3.6.1.5.2.3.5"] }',
        ["TLS Web Server Authentication, 1.3.6.1.4.1.99999.7.1, Signing KDC Response"], [],
        marks=row("F69"), id="extended key usages by OID",
    ),
    pytest.param(
        "basic_constraints: { ca: false }", ["X509v3 Basic Constraints: critical CA:FALSE"], ["CA:TRUE"],
        marks=row("F70"), id="no authority",
    ),
    pytest.param(
        "extensions: { aia: true }",
        [f"CA Issuers - URI:{BENEATH}/ca/issuing/1.crt", f"OCSP - URI:{BENEATH}/ocsp/issuing"], [],
        marks=row("F72", "F74", "F135"), id="AIA",
    ),
    pytest.param(
        "extensions: { aia: false }", [f"OCSP - URI:{BENEATH}/ocsp/issuing"], ["CA Issuers"],
        marks=row("F72"), id="no AIA",
    ),
    pytest.param(
        "extensions: { aia_url: http://cdn.example/issuing.p7c }", ["CA Issuers - URI:http://cdn.example/issuing.p7c"],
        [f"{BENEATH}/ca/"], marks=row("F73"), id="another AIA",
    ),
    pytest.param(
        "extensions: { ocsp: false }", [f"CA Issuers - URI:{BENEATH}/ca/issuing/1.crt"], ["OCSP - URI"],
        marks=row("F74", "F135"), id="no OCSP",
    ),
    pytest.param(
        "extensions: { aia: false, ocsp: false }", [], ["Authority Information Access"],
        marks=row("F72", "F74"), id="neither AIA nor OCSP",
    ),
    pytest.param(
        "enabled: true", [f"X509v3 CRL Distribution Points: Full Name: URI:{BENEATH}/crl/issuing/1.crl"], [],
        marks=row("F75", "F140"), id="CRL",
    ),
    pytest.param(
        "extensions: { crl: false }", [], ["CRL Distribution Points"], marks=row("F75", "F140"), id="no CRL",
    ),
    pytest.param(
        "extensions: { cps: true }",
        [f"X509v3 Certificate Policies: Policy: X509v3 Any Policy CPS: {BENEATH}/cps/issuing"], [],
        marks=row("F76"), id="CPS",
    ),
    pytest.param(
        "extensions: { cps: true, policies: [{ oid: dv }] }", [f"Policy: 2.23.140.1.2.1 CPS: {BENEATH}/cps/issuing"],
        ["Any Policy"], marks=row("F76", "F77"), id="CPS of a policy",
    ),
    pytest.param(
        "extensions: { policies: [{ oid: ov }, { oid: \"1.3.6.1.4.1.99999.1\", notice: Internal use }] }",
        ["Policy: 2.23.140.1.2.2", "Policy: 1.3.6.1.4.1.99999.1", "Explicit Text: Internal use"], ["CPS:"],
        marks=row("F77"), id="policies by name and by OID",
    ),
    pytest.param("extensions: {}", [], ["Certificate Policies"], marks=row("F76", "F77"), id="no policy"),
    pytest.param(
        "extensions: { must_staple: true }", ["TLS Feature: status_request"], [], id="must-staple",
    ),
    pytest.param(
        "extensions: { custom: [{ oid: \"1.3.6.1.4.1.311.20.2\", der: 1E 06 00 57 00 65 00 62 }] }",
        ["1.3.6.1.4.1.311.20.2"], [], id="custom extension",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "said", "unsaid"), CASES)
def test_what_is_declared_stands_in_the_certificate(
    sqlite_world: World, fields: str, said: list[str], unsaid: list[str]
) -> None:
    # Neither the parser nor the encoder under test has a part in the verdict.
    text = issue(sqlite_world, declare(sqlite_world, fields)).replace("Microsoft Universal Principal", "")
    normalized = re.sub(r"1\.3\.6\.1\.4\.1\.311\.20\.2\b|Microsoft certificate template", "1.3.6.1.4.1.311.20.2", text)
    for part in said:
        assert part in normalized
    for part in unsaid:
        assert part not in normalized


@pytest.mark.row("F54")
def test_nothing_is_issued_beside_a_template(sqlite_world: World) -> None:
    template = declare(sqlite_world, "names: { allow: { dns: ['*.corp.example'] } }")
    with pytest.raises(NotFound, match="there is no template"):
        sqlite_world.issue("issuing", make_csr())
    outcome = sqlite_world.issue(template, make_csr("web.evil.example", ("web.evil.example",)))
    assert isinstance(outcome, Rejected)
    assert "web.evil.example" in outcome.reason
    assert "DNS:web.corp.example" in issue(sqlite_world, template)


@pytest.mark.row("F54")
@pytest.mark.row("F55")
def test_templates_of_one_name_belong_to_their_authorities(sqlite_world: World) -> None:
    text = AUTHORITIES + (
        "templates:\n"
        "  - { name: machine, authority: issuing, starter: client }\n"
        "  - { name: machine, authority: rsa, starter: web-server }\n"
    )
    assert sqlite_world.apply(text).exit_code == 0
    with pytest.raises(NotFound, match="more than one template is called 'machine'"):
        sqlite_world.issue("machine", make_csr())
    assert "TLS Web Client Authentication" in issue(sqlite_world, "issuing/machine")
    assert "TLS Web Server Authentication" in issue(sqlite_world, "rsa/machine")


@pytest.mark.row("F56")
def test_an_edit_shows_in_the_plan_and_does_nothing_until_it_is_applied(sqlite_world: World) -> None:
    template = declare(sqlite_world, "validity: 30d")
    path = sqlite_world.folder / "pki.yaml"
    path.write_text(path.read_text().replace("validity: 30d", "validity: 60d"))
    plan = load_plan(sqlite_world.services, load_files([path]), now=sqlite_world.clock.now())
    (change,) = plan.pending
    assert (change.address, change.action.value) == (f"template/{template}", "update")
    assert "validity: 30d → 60d" in change.reason
    assert lifetime(leaf(sqlite_world, template)) == timedelta(days=30)
    assert sqlite_world.apply(path.read_text()).exit_code == 0
    assert lifetime(leaf(sqlite_world, template)) == timedelta(days=60)


@pytest.mark.row("F57")
def test_a_template_is_switched_off_and_on(sqlite_world: World) -> None:
    template = declare(sqlite_world, "enabled: false")
    with pytest.raises(Refused, match="disabled"):
        sqlite_world.issue(template, make_csr())
    declare(sqlite_world, "enabled: true")
    assert "CN=web.corp.example" in issue(sqlite_world, template).replace(" = ", "=")


@pytest.mark.row("F63")
@pytest.mark.parametrize(
    ("authority", "hash_name", "said"),
    [
        ("rsa", "sha512", "sha512WithRSAEncryption"),
        ("rsa", "sha384", "sha384WithRSAEncryption"),
        ("issuing", "sha256", "ecdsa-with-SHA256"),
        ("issuing", "sha512", "ecdsa-with-SHA512"),
    ],
)
def test_a_template_chooses_the_hash(sqlite_world: World, authority: str, hash_name: str, said: str) -> None:
    template = declare(sqlite_world, f"signature_hash: {hash_name}", authority=authority)
    assert f"Signature Algorithm: {said}" in issue(sqlite_world, template)


def lifetime(certificate: x509.Certificate) -> timedelta:
    # RFC 5280 §4.1.2.5: both ends are included.
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc + timedelta(seconds=1)


@pytest.mark.row("F64")
def test_the_declared_validity_is_the_default_and_the_limit_is_the_limit(sqlite_world: World) -> None:
    template = declare(sqlite_world, "validity: 45d, max_validity: 60d")
    text = issue(sqlite_world, template)
    assert "Not Before: Jan 1 12:00:00 2030 GMT" in text
    assert "Not After : Feb 15 11:59:59 2030 GMT" in text
    assert "Mar 2 11:59:59 2030 GMT" in issue(sqlite_world, template, overrides=Overrides(days=60))
    outcome = sqlite_world.issue(template, make_csr(), Overrides(days=61))
    assert isinstance(outcome, Rejected)
    assert "max_validity of 60d" in outcome.reason


@pytest.mark.row("F64")
def test_a_default_is_shortened_to_the_end_of_its_authority(sqlite_world: World) -> None:
    template = declare(sqlite_world, "validity: 4y")
    sqlite_world.pass_time(timedelta(days=8 * 365))
    issuing = x509.load_der_x509_certificate(sqlite_world.services.lookup.export("issuing", "der", chain=False))
    assert leaf(sqlite_world, template).not_valid_after_utc == issuing.not_valid_after_utc


@pytest.mark.row("F65")
def test_a_description_is_kept_for_people(sqlite_world: World) -> None:
    template = declare(sqlite_world, "description: Machines of the sales department")
    assert "sales department" in sqlite_world.services.template_lookup.get(template).row.spec
    assert "sales" not in issue(sqlite_world, template)


@pytest.mark.row("F66")
@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("{ from: csr }", "CN=web.corp.example"),
        (
            "{ from: template, values: { common_name: Example Software, organization: Example Corp, country: NL } }",
            "C=NL, O=Example Corp, CN=Example Software",
        ),
        (
            "{ from: merge, values: { organization: Example Corp, country: NL } }",
            "C=NL, O=Example Corp, CN=web.corp.example",
        ),
    ],
)
def test_the_subject_comes_from_where_the_template_says(sqlite_world: World, subject: str, said: str) -> None:
    text = issue(sqlite_world, declare(sqlite_world, f"subject: {subject}")).replace(" = ", "=")
    assert f"Subject: {said} Subject Public Key Info" in text


@pytest.mark.row("F67")
@pytest.mark.row("D26")
def test_a_key_gets_only_the_usages_it_can_have(sqlite_world: World) -> None:
    template = declare(sqlite_world, "starter: web-server")
    assert "Key Usage: critical Digital Signature X509v3" in issue(sqlite_world, template)
    with_rsa = issue(sqlite_world, template, make_csr(key=rsa_key()))
    assert "Key Usage: critical Digital Signature, Key Encipherment" in with_rsa


@pytest.mark.row("F45")
@pytest.mark.row("F70")
@pytest.mark.row("F71")
def test_a_template_for_authorities_makes_one_that_others_believe(sqlite_world: World, tmp_path: Path) -> None:
    template = declare(sqlite_world, "starter: certificate-authority, validity: 5y", authority="policy")
    csr = make_csr("Department CA", (), ec.generate_private_key(ec.SECP384R1()))
    text = issue(sqlite_world, template, csr)
    assert "X509v3 Basic Constraints: critical CA:TRUE, pathlen:0" in text
    assert "X509v3 Key Usage: critical Certificate Sign, CRL Sign" in text


@pytest.mark.row("F71")
@pytest.mark.parametrize(
    ("authority", "path_length", "refused"),
    [
        ("root", 1, ""),
        ("root", 0, ""),
        ("root", 2, "At most 1"),
        ("policy", 1, "At most 0"),
        ("issuing", 0, "no other"),
    ],
)
def test_a_path_length_has_to_fit_below_the_issuer(
    sqlite_world: World, authority: str, path_length: int, refused: str
) -> None:
    fields = f"starter: certificate-authority, validity: 5y, basic_constraints: {{ path_length: {path_length} }}"
    template = declare(sqlite_world, fields, authority=authority)
    csr = make_csr("Department CA", ())
    if not refused:
        assert f"CA:TRUE, pathlen:{path_length}" in issue(sqlite_world, template, csr)
        return
    outcome = sqlite_world.issue(template, csr)
    assert isinstance(outcome, Rejected)
    assert refused in outcome.reason


WISHES: dict[str, tuple[x509.ExtensionType, bool]] = {
    "to be an authority": (x509.BasicConstraints(True, None), True),
    "to sign certificates": (
        x509.KeyUsage(True, False, False, False, False, True, True, False, False), True,
    ),
    "another extended key usage": (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CODE_SIGNING]), False),
    "a policy": (
        x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.1"), None)]), False,
    ),
}  # fmt: skip


@pytest.mark.row("F54")
@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_a_request_gets_no_more_than_the_template_gives(
    sqlite_world: World, wish: tuple[x509.ExtensionType, bool]
) -> None:
    template = declare(sqlite_world, "starter: web-server")
    number = sqlite_world.services.requests.submit(template, make_csr(extensions=dict([wish])), OPERATOR)
    outcome = sqlite_world.services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(outcome, Rejected)
    assert sqlite_world.services.requests.get(number).row.state == "pending"
    assert not issued_from(sqlite_world, template)


def issued_from(world: World, template: str) -> list[Any]:
    from pkiconf.issuance.certificates import Filter

    return world.services.certificates.search(Filter(template=template))


@pytest.mark.row("F29")
@pytest.mark.parametrize(("allowed", "fits"), [("rsa", False), ("ec-p384", False), ("ec", True), ("ec-p256", True)])
def test_a_template_lists_the_keys_it_takes(sqlite_world: World, allowed: str, fits: bool) -> None:
    outcome = sqlite_world.issue(declare(sqlite_world, f"allowed_keys: [{allowed}]"), make_csr())
    assert isinstance(outcome, Issued if fits else Rejected)


@pytest.mark.row("F9")
def test_a_certificate_keeps_the_version_it_was_made_from(sqlite_world: World) -> None:
    template = declare(sqlite_world, "validity: 30d")
    issue(sqlite_world, template)
    declare(sqlite_world, "validity: 60d")
    issue(sqlite_world, template)
    found = issued_from(sqlite_world, template)
    assert len({one.row.template_version_id for one in found}) == 2
    assert len(sqlite_world.services.template_lookup.get(template).versions) == 2


def test_moments_are_whole_seconds_in_utc(sqlite_world: World) -> None:
    certificate = leaf(sqlite_world, declare(sqlite_world, "validity: 1d"))
    assert certificate.not_valid_before_utc == datetime(2030, 1, 1, 12, tzinfo=UTC)
