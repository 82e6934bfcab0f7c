"""An authority moves in with its past: numbers go on, old serials answer, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509 import ocsp

from pkiconf.authority.declared import DeclaredAuthority
from pkiconf.errors import Conflict, Malformed, PkiconfError, Refused, UnsupportedAlgorithm, Unverified
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued
from pkiconf.model.revocation import RevocationReason
from pkiconf.model.secret import Secret
from pkiconf.policy.authority import authority_defaults
from pkiconf.policy.starters import starter_defaults
from pkiconf.spec.template import TemplateSpec
from pkiconf.steps import Step
from pkiconf.store import compromised_keys, inventory
from tests.authority.elsewhere import DAY, Elsewhere, everything, name, pem
from tests.world import NOW, OPERATOR, World, make_csr

GOOD, REVOKED, HELD, UNLISTED = 0x0A01, 0x0A02, 0x0A03, 0x0A04
CRL = {
    REVOKED: x509.ReasonFlags.key_compromise,
    HELD: x509.ReasonFlags.certificate_hold,
    UNLISTED: x509.ReasonFlags.unspecified,
}


def key_file(key: Any, passphrase: bytes | None = None) -> bytes:
    protection: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    return data


def bring(
    world: World,
    files: Mapping[str, bytes],
    *,
    passphrase: bytes | None = None,
    issuer: str = "self",
    number: int | None = None,
    **explicit: Any,
) -> int:
    """Create authority `old` from files; its issuer's id."""
    written = {"name": "old", "issuer": issuer, "key": {"source": "import", "file": "old.key"}, **explicit}
    if number is not None:
        written["import"] = {"next_crl_number": number}
    secrets = {"key.passphrase": Secret(passphrase)} if passphrase is not None else {}
    spec = authority_defaults(written, 0, issuer == "self")
    row = world.services.authorities.create(DeclaredAuthority("old", spec, "yaml:default", files, secrets), OPERATOR)
    assert row.current_issuer_id is not None
    template = {**starter_defaults("web-server"), "name": "web-server", "authority": "old", "starter": "web-server"}
    fields = TemplateSpec.model_validate(template).model_dump(mode="json", by_alias=True)
    world.services.templates.create("old", "web-server", fields, "yaml:default", OPERATOR)
    return row.current_issuer_id


def past(old: Elsewhere, **other: bytes) -> dict[str, bytes]:
    issued = b"# from index.txt\n0A01\n0a:02\n\n0A03 # held\n"
    return {
        "key.file": key_file(old.key),
        "certificate.file": pem(old.certificate),
        "import.issued": issued,
        "import.crl": old.crl(41, CRL),
        **{path.replace("__", "."): data for path, data in other.items()},
    }


@pytest.fixture
def old() -> Elsewhere:
    return Elsewhere("old")


def status(world: World, old: Elsewhere, serial: int) -> ocsp.OCSPResponse:
    certificate = old.certify(name("any"), old.key.public_key(), serial=serial)
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, old.certificate, hashes.SHA1()).build()
    answer = world.services.ocsp.answer("old", request.public_bytes(Encoding.DER), world.clock.now())
    return ocsp.load_der_ocsp_response(answer.der)


@pytest.mark.row("F35")
def test_its_past_goes_on(world: World, old: Elsewhere) -> None:
    issuer = bring(world, past(old))
    expected = {
        GOOD: ocsp.OCSPCertStatus.GOOD, REVOKED: ocsp.OCSPCertStatus.REVOKED, HELD: ocsp.OCSPCertStatus.REVOKED,
        UNLISTED: ocsp.OCSPCertStatus.REVOKED, 0x0A05: ocsp.OCSPCertStatus.UNKNOWN,
    }  # fmt: skip
    assert {serial: status(world, old, serial).certificate_status for serial in expected} == expected
    assert status(world, old, REVOKED).revocation_reason is x509.ReasonFlags.key_compromise
    assert status(world, old, HELD).revocation_reason is x509.ReasonFlags.certificate_hold

    crl = x509.load_der_x509_crl(world.services.crls.current(issuer).der)
    assert crl.is_signature_valid(old.key.public_key())
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 42
    assert {entry.serial_number for entry in crl} == {REVOKED, HELD, UNLISTED}
    assert {entry.revocation_date_utc for entry in crl} == {NOW - 2 * DAY}

    leaf = x509.load_der_x509_certificate(world.issued("old/web-server", make_csr()).der)
    leaf.verify_directly_issued_by(old.certificate)


def test_a_key_compromised_in_its_past_is_never_certified_again(sqlite_world: World, old: Elsewhere) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = old.certify(name("stolen"), key.public_key(), serial=REVOKED)
    bring(sqlite_world, past(old, import__issued=pem(leaf)))
    with pytest.raises(Refused, match="compromised"):
        sqlite_world.services.requests.submit("old/web-server", make_csr(key=key), OPERATOR)


def test_a_compromised_key_is_not_taken_over_for_an_authority(sqlite_world: World, old: Elsewhere) -> None:
    spki = old.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    sqlite_world.parts.db.write(Step.CERTIFICATE_REVOKE, lambda c: compromised_keys.add(c, spki, 0))
    before = everything(sqlite_world)
    with pytest.raises(Refused, match="compromised"):
        bring(sqlite_world, past(old))
    assert everything(sqlite_world) == before


@pytest.mark.row("F35")
def test_held_serials_can_be_released_and_good_ones_revoked(sqlite_world: World, old: Elsewhere) -> None:
    issuer = bring(sqlite_world, past(old))
    sqlite_world.services.revocations.release(CertificateID(issuer, HELD), OPERATOR)
    sqlite_world.services.revocations.revoke(CertificateID(issuer, GOOD), RevocationReason.SUPERSEDED, OPERATOR)
    assert status(sqlite_world, old, HELD).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert status(sqlite_world, old, GOOD).certificate_status is ocsp.OCSPCertStatus.REVOKED


@pytest.mark.row("F35")
def test_a_bundle_of_certificates_tells_their_ends_too(sqlite_world: World, old: Elsewhere) -> None:
    leaves = [
        old.certify(name("a"), old.key.public_key(), ca=False, serial=serial, not_after=NOW + serial * DAY)
        for serial in (GOOD, REVOKED)
    ]
    issuer = bring(sqlite_world, past(old, import__issued=pem(*leaves)))
    rows = sqlite_world.parts.db.read(lambda c: inventory.search(c, inventory.Wish(issuer_ids=[issuer])))
    ends = {int.from_bytes(row.serial): row.not_after for row in rows if row.origin_kind == "import"}
    assert ends[GOOD] == int((NOW + GOOD * DAY).timestamp())
    assert ends[UNLISTED] == int(old.not_after.timestamp()), "known from the CRL only: it stays as long as it may"


@pytest.mark.row("F35")
@pytest.mark.parametrize("passphrase", [b"correct horse", "pässwörd".encode()])
def test_an_encrypted_key_opens_with_its_passphrase(sqlite_world: World, old: Elsewhere, passphrase: bytes) -> None:
    bring(sqlite_world, past(old, key__file=key_file(old.key, passphrase)), passphrase=passphrase)
    assert isinstance(sqlite_world.issue("old/web-server", make_csr()), Issued)


def test_a_key_alone_begins_a_new_life(sqlite_world: World, old: Elsewhere) -> None:
    bring(sqlite_world, {"key.file": key_file(old.key)})
    certificate = x509.load_der_x509_certificate(sqlite_world.services.lookup.export("old", "der"))
    assert certificate.public_key() == old.key.public_key()
    certificate.verify_directly_issued_by(certificate)


def test_the_next_number_may_be_given(sqlite_world: World, old: Elsewhere) -> None:
    issuer = bring(sqlite_world, past(old), number=1000)
    assert sqlite_world.services.crls.current(issuer).number == 1000


def test_a_subordinate_comes_with_its_chain(sqlite_world: World) -> None:
    root = Elsewhere("Their Root")
    old = Elsewhere("old", root, path_length=0)
    bring(sqlite_world, past(old, certificate__chain=pem(root.certificate)), issuer="external")
    issued = sqlite_world.issued("old/web-server", make_csr())
    assert issued.chain == (old.certificate.public_bytes(Encoding.DER),)
    assert sqlite_world.services.lookup.export("old", "pem", chain=True) == pem(old.certificate, root.certificate)


def test_it_may_come_below_an_authority_that_came_before(sqlite_world: World) -> None:
    root = Elsewhere("root")
    declared = authority_defaults({"name": "root", "key": {"source": "import", "file": "k"}}, 1, True)
    files = {"key.file": key_file(root.key), "certificate.file": pem(root.certificate)}
    sqlite_world.services.authorities.create(DeclaredAuthority("root", declared, "yaml:default", files), OPERATOR)
    old = Elsewhere("old", root, path_length=0)
    bring(sqlite_world, past(old, certificate__chain=pem(root.certificate)), issuer="root")
    assert [row.role for row in sqlite_world.services.lookup.get("old").certificates] == ["subordinate"]
    sqlite_world.services.authorities.renew("old", OPERATOR)
    renewed = x509.load_der_x509_certificate(sqlite_world.services.lookup.export("old", "der"))
    renewed.verify_directly_issued_by(root.certificate)
    assert renewed.public_key() == old.key.public_key()


def test_an_unusual_identifier_survives_renewal(sqlite_world: World) -> None:
    old = Elsewhere("old")
    own = old.certify(name("old"), old.key.public_key(), path_length=None, ski=b"as it always was")
    bring(sqlite_world, {"key.file": key_file(old.key), "certificate.file": pem(own)})
    sqlite_world.services.authorities.renew("old", OPERATOR)
    renewed = x509.load_der_x509_certificate(sqlite_world.services.lookup.export("old", "der"))
    assert renewed.serial_number != own.serial_number
    assert renewed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == b"as it always was"
    assert renewed.subject.public_bytes() == own.subject.public_bytes()


Brought = tuple[dict[str, bytes], dict[str, Any]]
Bad = Callable[[Elsewhere], Brought]


def _files(**files: bytes) -> Bad:
    return lambda old: (past(old, **files), {})


def _from(make: Callable[[Elsewhere], dict[str, bytes]], **explicit: Any) -> Bad:
    return lambda old: (past(old, **make(old)), explicit)


def _without(*paths: str) -> Bad:
    return lambda old: ({path: data for path, data in past(old).items() if path not in paths}, {})


def _foreign_leaf(old: Elsewhere) -> dict[str, bytes]:
    other = Elsewhere("old")
    return {"import__issued": pem(other.certify(name("x"), other.key.public_key(), ca=False, serial=7))}


INDIRECT = x509.IssuingDistributionPoint(
    full_name=[x509.UniformResourceIdentifier("http://x.example/1.crl")], relative_name=None,
    only_contains_user_certs=False, only_contains_ca_certs=False, only_some_reasons=None, indirect_crl=False,
    only_contains_attribute_certs=False,
)  # fmt: skip
PSS = {"key": {"source": "import", "file": "old.key", "type": "rsa"}, "signature_padding": "pss"}
WEAK = rsa.generate_private_key(65537, 1024)

BAD: dict[str, tuple[Bad, type[PkiconfError], str | None]] = {
    "another key's certificate": (
        _from(lambda o: {"certificate__file": pem(Elsewhere("old").certificate)}),
        Refused,
        "another key",
    ),
    "another subject": (_files(), Refused, "subject is"),
    "CRL by another key": (_from(lambda o: {"import__crl": Elsewhere("old").crl(1, {})}), Unverified, None),
    "CRL of another issuer": (
        _from(lambda o: {"import__crl": o.crl(1, {}, issuer=name("Else"))}),
        Refused,
        "another authority",
    ),
    "delta CRL": (
        _from(lambda o: {"import__crl": o.crl(2, {}, extra=[(x509.DeltaCRLIndicator(1), True)])}),
        Refused,
        "full CRL",
    ),
    "CRL of a part": (_from(lambda o: {"import__crl": o.crl(2, {}, extra=[(INDIRECT, True)])}), Refused, "full CRL"),
    "removeFromCRL": (
        _from(lambda o: {"import__crl": o.crl(2, {5: x509.ReasonFlags.remove_from_crl})}),
        Malformed,
        "removeFromCRL",
    ),
    "garbage CRL": (_files(import__crl=b"garbage"), Malformed, None),
    "number of the last CRL": (_from(lambda o: {}, number=41), Refused, "number 41"),
    "serial no hex": (_files(import__issued=b"0A01\nxyz\n"), Malformed, "line 2"),
    "serial negative": (_files(import__issued=b"-5\n"), Malformed, "line 1"),
    "serial with underscore": (_files(import__issued=b"1_0\n"), Malformed, "line 1"),
    "serial zero": (_files(import__issued=b"00\n"), Malformed, "line 1"),
    "serial too long": (_files(import__issued=b"01" * 21), Malformed, "line 1"),
    "other people's leaves": (_from(_foreign_leaf), Unverified, "not issued by this authority"),
    "a past without certificate": (_without("certificate.file"), Refused, "not its certificate"),
    "no key": (_without("key.file"), Refused, "names no file"),
    "garbage key": (_files(key__file=b"garbage"), Malformed, None),
    "a public key": (_from(lambda o: {"key__file": pem(o.certificate)}), Malformed, None),
    "weak key": (_files(key__file=key_file(WEAK)), PkiconfError, None),
    "a curve we do not run": (
        _files(key__file=key_file(ec.generate_private_key(ec.SECP256K1()))),
        UnsupportedAlgorithm,
        None,
    ),
    "encrypted key, no passphrase": (_from(lambda o: {"key__file": key_file(o.key, b"x")}), PkiconfError, None),
    "self, but issued by another": (
        lambda old: (
            past(
                sub := Elsewhere("old", root := Elsewhere("R"), path_length=0),
                certificate__chain=pem(root.certificate),
                key__file=key_file(sub.key),
            ),
            {"path_length": 0},
        ),
        Refused,
        "issued by another authority",
    ),
    "external, but self-signed": (_from(lambda o: {}, issuer="external"), Refused, "self-signed"),
    "below an authority that did not issue it": (
        _from(lambda o: {}, issuer="above"),
        Refused,
        "not issued by authority",
    ),
    "ended": (
        lambda old: (past(Elsewhere("old", not_before=NOW - 9 * DAY, not_after=NOW - DAY)), {}),
        Refused,
        "valid from",
    ),
    "PSS with an EC key": (lambda old: ({"key.file": key_file(old.key)}, PSS), UnsupportedAlgorithm, "pss"),
}


@pytest.mark.row("F35")
@pytest.mark.parametrize("bad", BAD)
def test_what_does_not_fit_is_refused_and_nothing_recorded(sqlite_world: World, bad: str) -> None:
    make, error, words = BAD[bad]
    sqlite_world.authority("above")
    files, explicit = make(Elsewhere("Old CA" if bad == "another subject" else "old"))
    before = everything(sqlite_world)
    with pytest.raises(error, match=words):
        bring(sqlite_world, files, **explicit)
    assert everything(sqlite_world) == before


def test_a_wrong_passphrase_is_said_and_not_repeated(sqlite_world: World, old: Elsewhere) -> None:
    before = everything(sqlite_world)
    with pytest.raises(PkiconfError) as raised:
        bring(sqlite_world, past(old, key__file=key_file(old.key, b"right")), passphrase=b"wrong-one")
    assert "wrong-one" not in str(raised.value)
    assert "passphrase" in str(raised.value)
    assert everything(sqlite_world) == before


def test_a_key_that_another_authority_has_is_refused(sqlite_world: World, old: Elsewhere) -> None:
    bring(sqlite_world, past(old))
    before = everything(sqlite_world)
    spec = authority_defaults({"name": "twin", "key": {"source": "import", "file": "k"}}, 0, True)
    with pytest.raises(Conflict):
        sqlite_world.services.authorities.create(
            DeclaredAuthority("twin", spec, "yaml:default", {"key.file": key_file(old.key)}), OPERATOR
        )
    assert everything(sqlite_world) == before
