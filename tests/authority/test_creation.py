"""New authorities: what little must be said, what they are then, and what is refused before anything stands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key

from pkiconf.authority.declared import DeclaredAuthority
from pkiconf.errors import Conflict, NotFound, PkiconfError, Refused
from pkiconf.model.keys import KEY_ALGORITHMS
from pkiconf.model.request import Rejected
from pkiconf.policy.authority import authority_defaults
from pkiconf.reconciler.observe import load_plan
from pkiconf.spec.loader import load_files
from pkiconf.store import keys, templates
from tests.authority.elsewhere import everything
from tests.authority.following import aki, current, length, loaded, ski
from tests.keys import rsa_key
from tests.tools import accepted, run_tool
from tests.world import NOW, OPERATOR, World, make_csr

THREE_TIERS = """
authorities:
  - { name: issuing, issuer: policy, validity: 3y }
  - { name: policy, issuer: root, validity: 6y }
  - { name: root, validity: 20y }
"""


@pytest.mark.row("F4")
@pytest.mark.row("F42")
def test_a_name_is_enough(world: World) -> None:
    assert world.apply("authorities: [{ name: corp }]").exit_code == 0
    root = current(world, "corp")
    assert root.subject.rfc4514_string() == "CN=corp"
    key = root.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, None)
    assert root.not_valid_after_utc.year == NOW.year + 10
    world.issued("corp/web-server", make_csr())


@pytest.mark.row("F30")
@pytest.mark.row("F41")
@pytest.mark.row("F45")
def test_the_order_in_the_file_does_not_matter(world: World) -> None:
    assert world.apply(THREE_TIERS).exit_code == 0
    root, policy, issuing = (current(world, name) for name in ("root", "policy", "issuing"))
    policy.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(policy)
    lengths = [
        c.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length for c in (root, policy, issuing)
    ]
    assert lengths == [None, 1, 0]
    assert (aki(issuing), aki(policy)) == (ski(policy), ski(root))
    leaf = world.issued("issuing/web-server", make_csr())
    assert [loaded(der) for der in leaf.chain] == [issuing, policy]
    assert world.apply(THREE_TIERS).exit_code == 0


@pytest.mark.row("F33")
def test_every_attribute_of_the_subject(sqlite_world: World) -> None:
    sqlite_world.apply("""
authorities:
  - name: corp
    subject:
      { common_name: Corp CA, country: NL, state: Utrecht, locality: Zeist, organization: Corp,
        organizational_unit: PKI }
""")
    assert {a.rfc4514_string() for a in current(sqlite_world, "corp").subject} == {
        "CN=Corp CA", "C=NL", "ST=Utrecht", "L=Zeist", "O=Corp", "OU=PKI",
    }  # fmt: skip


@pytest.mark.row("F36")
@pytest.mark.parametrize(("wish", "oid"), [("sha256", "1.2.840.10045.4.3.2"), ("sha384", "1.2.840.10045.4.3.3"),
                                           ("sha512", "1.2.840.10045.4.3.4")])  # fmt: skip
def test_the_signature_hash_is_the_declared_one(sqlite_world: World, wish: str, oid: str) -> None:
    sqlite_world.authority("corp", signature_hash=wish)
    assert current(sqlite_world, "corp").signature_algorithm_oid.dotted_string == oid


@pytest.mark.row("F37")
def test_validity_by_length_or_by_its_ends(sqlite_world: World) -> None:
    sqlite_world.authority("short", validity="90d")
    assert length(current(sqlite_world, "short")) == timedelta(days=90)
    sqlite_world.authority("fixed", not_before="2029-01-01T00:00:00Z", not_after="2035-06-30T23:59:59Z")
    fixed = current(sqlite_world, "fixed")
    assert fixed.not_valid_before_utc.isoformat() == "2029-01-01T00:00:00+00:00"
    assert fixed.not_valid_after_utc.isoformat() == "2035-06-30T23:59:59+00:00"


@pytest.mark.row("F37")
def test_nothing_outlives_its_issuer(sqlite_world: World) -> None:
    sqlite_world.apply("authorities: [{ name: root, validity: 1y }, { name: sub, issuer: root, validity: 5y }]\n"
                       "templates: [{ name: web, authority: sub, starter: web-server, validity: 3y }]")  # fmt: skip
    root, sub = current(sqlite_world, "root"), current(sqlite_world, "sub")
    leaf = loaded(sqlite_world.issued("sub/web", make_csr()).der)
    assert leaf.not_valid_after_utc == sub.not_valid_after_utc == root.not_valid_after_utc


@pytest.mark.row("F39")
def test_usage_overrides_are_warned_of_and_carried_out(sqlite_world: World) -> None:
    text = """
authorities:
  - { name: corp, key_usage: [keyCertSign, cRLSign, digitalSignature], extended_key_usage: [serverAuth, OCSPSigning] }
"""
    assert sqlite_world.apply(text).exit_code == 0
    corp = current(sqlite_world, "corp")
    assert corp.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert len(list(corp.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)) == 2
    plan = load_plan(sqlite_world.services, load_files([sqlite_world.folder / "pki.yaml"]), now=NOW)
    told = " ".join(finding.message for finding in plan.findings)
    assert "key_usage differs" in told
    assert "extended_key_usage on an authority" in told


@pytest.mark.row("F50")
def test_practice_statement_and_its_policy(sqlite_world: World) -> None:
    sqlite_world.apply("authorities: [{ name: corp, cps: { text: We are careful., policy: 1.3.6.1.4.1.99999.1 } }]")
    assert sqlite_world.services.lookup.get("corp").spec.cps is not None
    policies = current(sqlite_world, "corp").extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert [policy.policy_identifier.dotted_string for policy in policies] == ["1.3.6.1.4.1.99999.1"]


@pytest.mark.row("F49")
def test_its_urls_are_those_in_certificates(sqlite_world: World) -> None:
    sqlite_world.apply("settings: { base_url: http://pki.corp.example }\n"
                       "authorities: [{ name: corp, urls: { crl: http://cdn.example/corp.crl } }]")  # fmt: skip
    urls = sqlite_world.services.lookup.get("corp").urls
    leaf = loaded(sqlite_world.issued("corp/web-server", make_csr()).der)
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name is not None
    assert points[0].full_name[0].value == urls.crl == "http://cdn.example/corp.crl"
    assert urls.ocsp == "http://pki.corp.example/ocsp/corp"


BAD: dict[str, tuple[dict[str, Any], type[PkiconfError], str]] = {
    "end beyond its issuer's": ({"issuer": "above", "not_after": "2099-01-01T00:00:00Z"}, Refused, "beyond the end"),
    "begin before its issuer's": ({"issuer": "above", "not_before": "2001-01-01T00:00:00Z"}, Refused, "before"),
    "ended already": ({"not_after": "2001-01-01T00:00:00Z"}, Refused, "already have ended"),
    "path length too large": ({"issuer": "above", "path_length": 5}, Refused, "path length"),
    "path length unlimited": ({"issuer": "above", "path_length": None}, Refused, "path length"),
    "below one that may have none": ({"issuer": "end"}, Refused, "path length"),
    "below nobody": ({"issuer": "nobody"}, NotFound, "nobody"),
    "below one that waits": ({"issuer": "waiting"}, Conflict, "cannot sign"),
    "a name outside the constraints": (
        {"issuer": "narrow", "subject": {"common_name": "X", "organization": "Other"}}, Refused, "constraint"),
    "a name in use": ({"name": "above"}, Conflict, "exists"),
}  # fmt: skip


@pytest.mark.row("F38")
@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_certified_is_refused_before_anything_stands(sqlite_world: World, bad: str) -> None:
    assert (
        sqlite_world.apply("""
authorities:
  - { name: above, path_length: 2, not_before: 2020-01-01T00:00:00Z, not_after: 2040-01-01T00:00:00Z }
  - { name: end, issuer: above, path_length: 0 }
  - { name: narrow, subject: { common_name: N, organization: Example Corp },
      name_constraints: { permitted: { dirname: ["O=Example Corp"] } } }
  - { name: waiting, issuer: external }
""").exit_code
        == 3
    )
    wish, error, words = BAD[bad]
    explicit = {"name": "new", **wish}
    spec = authority_defaults(explicit, 0, explicit.get("issuer", "self") == "self")
    if "path_length" in wish:
        spec["path_length"] = wish["path_length"]
    before = everything(sqlite_world)
    with pytest.raises(error, match=words):
        sqlite_world.services.authorities.create(DeclaredAuthority(explicit["name"], spec, "yaml:default"), OPERATOR)
    assert everything(sqlite_world) == before


@pytest.mark.row("F38")
def test_constraints_of_the_whole_chain_bind_a_leaf(sqlite_world: World) -> None:
    assert (
        sqlite_world.apply("""
authorities:
  - { name: root, name_constraints: { permitted: { dns: [corp.example] }, excluded: { dns: [secret.corp.example] } } }
  - { name: policy, issuer: root, name_constraints: { permitted: { dns: [nl.corp.example] } } }
  - { name: issuing, issuer: policy }
""").exit_code
        == 0
    )
    assert sqlite_world.issued("issuing/web-server", make_csr("w.nl.corp.example", ("w.nl.corp.example",)))
    before = everything(sqlite_world)["certificate"]
    for host in ("w.corp.example", "w.elsewhere.example", "w.secret.corp.example", "nl.corp.example.evil.example"):
        assert isinstance(sqlite_world.issue("issuing/web-server", make_csr(host, (host,))), Rejected), host
    assert everything(sqlite_world)["certificate"] == before


@pytest.mark.row("F45")
def test_by_hand_too_one_authority_signs_anothers_request(sqlite_world: World) -> None:
    """Switch to the signing authority, a template from the starter, submit, approve, install."""
    assert (
        sqlite_world.apply("""
authorities:
  - { name: root, path_length: 1 }
  - { name: inter, issuer: external, subject: { common_name: Intermediate }, default_templates: [web-server] }
templates:
  - { name: intermediate, authority: root, starter: certificate-authority }
""").exit_code
        == 3
    )
    csr = sqlite_world.services.external.csr("inter")
    issued = sqlite_world.issued("root/intermediate", csr)
    root = sqlite_world.services.lookup.export("root", "pem")
    sqlite_world.services.external.install("inter", issued.der, root, OPERATOR)
    leaf = sqlite_world.issued("inter/web-server", make_csr(key=rsa_key()))
    folder = sqlite_world.folder
    for name, ders in (("leaf", (leaf.der,)), ("chain", leaf.chain)):
        (folder / name).write_bytes(b"".join(loaded(der).public_bytes(Encoding.PEM) for der in ders))
    (folder / "root").write_bytes(root)
    accepted(run_tool("openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-CAfile",
                      folder / "root", "-untrusted", folder / "chain", folder / "leaf"))  # fmt: skip


def test_two_below_one_issuer_do_not_take_each_others_template(sqlite_world: World) -> None:
    """Established at once by two processes, each must get what it declares."""
    sqlite_world.authority("root")
    sqlite_world.authority("narrow", "root", path_length=0, name_constraints={"permitted": {"dns": ["corp.example"]}})
    sqlite_world.authority("wide", "root", path_length=2)
    rows = sqlite_world.parts.db.read(templates.list_templates)
    names = {row.name for row in rows}
    assert len({name for name in names if "certificate-authority" in name}) == 3


@pytest.mark.row("F31")
@pytest.mark.parametrize("algorithm", ["ec-p256", "ed25519", "ml-dsa-44", "rsa-2048"])
def test_no_private_key_lies_in_the_database_in_the_clear(sqlite_world: World, algorithm: str) -> None:
    assert algorithm in KEY_ALGORITHMS
    kind, _, size = algorithm.rpartition("-") if algorithm != "ed25519" else ("ed25519", "", "")
    key: dict[str, Any] = {"type": kind}
    key |= {"curve": size} if kind == "ec" else {"size": int(size)} if kind == "rsa" else {}
    key |= {"parameter_set": int(size)} if kind == "ml-dsa" else {}
    sqlite_world.authority("corp", key=key)
    parts = sqlite_world.parts
    stored = b"".join(path.read_bytes() for path in sqlite_world.folder.parent.joinpath("state").iterdir())
    for row in parts.db.read(keys.list_keys):
        assert row.sealed is not None
        assert row.wrapping_key_id is not None
        plain = parts.keyring.unseal(f"key:{row.spki_sha256.hex()}", row.sealed, row.wrapping_key_id).reveal()
        assert plain not in stored
        assert _secret(plain) not in stored
        assert row.spki in stored, "looked where the keys are"
    assert (sqlite_world.folder / "master.key").stat().st_mode & 0o077 == 0


def _secret(pkcs8: bytes) -> bytes:
    key = load_der_private_key(pkcs8, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.private_numbers().p.to_bytes(key.key_size // 16)
    assert isinstance(key, ed25519.Ed25519PrivateKey | mldsa.MLDSA44PrivateKey)
    return key.private_bytes_raw()
