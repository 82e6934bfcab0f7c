"""`issuer: external`: what comes back is checked as a relying party would, and a bad one changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from pkiconf.errors import Conflict, Malformed, PkiconfError, Refused, Unverified
from pkiconf.model.request import Overrides, Rejected
from pkiconf.reconciler.state import Action
from tests.authority.elsewhere import DAY, Elsewhere, everything, name, pem
from tests.tools import accepted, run_tool
from tests.world import NOW, OPERATOR, World, make_csr

EXTERNAL = (
    "authorities: [{ name: ext, issuer: external, subject: { common_name: Ext }, default_templates: [web-server] }]"
)
WAITING = 3


@pytest.fixture
def waiting(sqlite_world: World) -> World:
    assert sqlite_world.apply(EXTERNAL).exit_code == WAITING
    return sqlite_world


def request_of(world: World, authority: str = "ext") -> x509.CertificateSigningRequest:
    return x509.load_der_x509_csr(world.services.external.csr(authority))


def install(world: World, certificate: bytes, chain: bytes = b"") -> None:
    world.services.external.install("ext", certificate, chain, OPERATOR)


@pytest.mark.row("F41")
@pytest.mark.row("F43")
@pytest.mark.row("F46")
@pytest.mark.row("F47")
def test_openssl_signs_the_request_and_the_authority_issues(world: World, tmp_path: Path) -> None:
    assert world.apply(EXTERNAL).exit_code == WAITING
    csr, root, key, out, extensions = (
        tmp_path / part for part in ("ext.csr", "root.pem", "root.key", "ext.pem", "ext.cnf")
    )
    csr.write_bytes(request_of(world).public_bytes(Encoding.PEM))
    accepted(run_tool("openssl", "req", "-in", csr, "-verify", "-noout"))
    start, end = "20291231000000Z", "20391231000000Z"
    extensions.write_text("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
                          "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")  # fmt: skip
    elsewhere = Elsewhere("Their Root")
    root.write_bytes(pem(elsewhere.certificate))
    key.write_bytes(elsewhere.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "index.txt").touch()
    config = tmp_path / "ca.cnf"
    config.write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={tmp_path}/index.txt\nnew_certs_dir={tmp_path}\n"
                      "rand_serial=yes\npolicy=p\ndefault_md=sha256\n[p]\ncommonName=supplied\n")  # fmt: skip
    accepted(
        run_tool("openssl", "ca", "-batch", "-config", config, "-in", csr, "-cert", root, "-keyfile", key,
                 "-startdate", start, "-enddate", end, "-extfile", extensions, "-notext", "-out", out)
    )  # fmt: skip
    install(world, out.read_bytes(), root.read_bytes())
    assert world.services.authorities.finish("ext", OPERATOR).lifecycle == "active"
    issued = world.issued("ext/web-server", make_csr())
    ours = x509.load_pem_x509_certificate(out.read_bytes())
    x509.load_der_x509_certificate(issued.der).verify_directly_issued_by(ours)
    assert issued.chain == (ours.public_bytes(Encoding.DER),)
    assert world.services.lookup.export("ext", "pem", chain=True) == pem(ours, elsewhere.certificate)
    assert world.apply(EXTERNAL).exit_code == 0


@pytest.mark.row("F44")
def test_the_request_can_be_had_again_and_asks_for_what_is_declared(sqlite_world: World) -> None:
    sqlite_world.apply("""
authorities:
  - name: ext
    issuer: external
    path_length: 2
    extended_key_usage: [serverAuth]
    name_constraints: { permitted: { dns: [corp.example] } }
""")
    first, second = request_of(sqlite_world), request_of(sqlite_world)
    assert first.public_key() == second.public_key()
    assert first.is_signature_valid
    wishes = {extension.oid: extension.value for extension in first.extensions}
    assert wishes[ExtensionOID.BASIC_CONSTRAINTS] == x509.BasicConstraints(True, 2)
    usage = wishes[ExtensionOID.KEY_USAGE]
    assert isinstance(usage, x509.KeyUsage)
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert ExtensionOID.EXTENDED_KEY_USAGE in wishes
    assert ExtensionOID.NAME_CONSTRAINTS in wishes


@pytest.mark.row("F41")
def test_nothing_is_issued_while_it_waits(waiting: World) -> None:
    number = waiting.services.requests.submit("ext/web-server", make_csr(), OPERATOR)
    before = everything(waiting)
    with pytest.raises(Refused, match="waits for its certificate"):
        waiting.services.requests.sign(number, Overrides(), OPERATOR)
    assert everything(waiting) == before


def good(world: World, root: Elsewhere, **worse: object) -> x509.Certificate:
    return root.certify(name("Ext"), request_of(world).public_key(), **worse)  # type: ignore[arg-type]


Bad = Callable[[World, Elsewhere], tuple[bytes, bytes]]


def _with(**worse: object) -> Bad:
    return lambda world, root: (pem(good(world, root, **worse)), pem(root.certificate))


def _other_key(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    return pem(root.certify(name("Ext"), ec.generate_private_key(ec.SECP256R1()).public_key())), pem(root.certificate)


def _other_subject(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    return pem(root.certify(name("Somebody Else"), request_of(world).public_key())), pem(root.certificate)


def _no_root(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    middle = Elsewhere("Middle", root)
    return pem(good(world, middle)), pem(middle.certificate)


def _no_chain(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    return pem(good(world, root)), b""


def _circle(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    one = Elsewhere("One")
    two = Elsewhere("Two", one)
    again = two.certify(name("One"), one.key.public_key(), path_length=None)
    return pem(good(world, one)), pem(again, two.certificate)


def _wrong_signature(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    return pem(good(world, root, key_of=Elsewhere("Other").key)), pem(root.certificate)


def _same_name_other_key(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    return pem(good(world, root)), pem(Elsewhere("Their Root").certificate)


def _root_signature(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    false = root.certify(name("Their Root"), root.key.public_key(), path_length=None, key_of=Elsewhere("Other").key)
    return pem(good(world, root)), pem(false)


def _ended_root(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    ended = Elsewhere("Their Root", not_before=NOW - 20 * DAY, not_after=NOW - DAY)
    return pem(good(world, ended)), pem(ended.certificate)


def _root_is_no_authority(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    leaf = Elsewhere("Their Root", ca=False)
    return pem(good(world, leaf)), pem(leaf.certificate)


def _root_without_room(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    tight = Elsewhere("Their Root", path_length=0)
    return pem(good(world, tight)), pem(tight.certificate)


def _grandparent_without_room(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    tight = Elsewhere("Their Root", path_length=1)
    middle = Elsewhere("Middle", tight)
    return pem(good(world, middle)), pem(middle.certificate, tight.certificate)


def _endless(world: World, root: Elsewhere) -> tuple[bytes, bytes]:
    return pem(good(world, root)), pem(*[root.certificate] * 33)


BAD: dict[str, tuple[Bad, type[PkiconfError], str | None]] = {
    "another key": (_other_key, Refused, "another key"),
    "another subject": (_other_subject, Refused, "subject is"),
    "no authority": (_with(ca=False), Refused, "CA:TRUE"),
    "no basicConstraints": (_with(ca=None), Refused, "CA:TRUE"),
    "no keyCertSign": (_with(cert_sign=False), Refused, "keyCertSign"),
    "no cRLSign": (_with(crl_sign=False), Refused, "cRLSign"),
    "ended": (_with(not_before=NOW - 9 * DAY, not_after=NOW - DAY), Refused, "valid from"),
    "not yet valid": (_with(not_before=NOW + DAY), Refused, "valid from"),
    "chain incomplete": (_no_root, Refused, "incomplete"),
    "no chain": (_no_chain, Refused, "incomplete"),
    "circle": (_circle, Refused, "circle"),
    "wrong signature": (_wrong_signature, Unverified, "not signed by"),
    "an issuer of the same name": (_same_name_other_key, Unverified, "not signed by"),
    "a root that did not sign itself": (_root_signature, Unverified, "not signed by"),
    "root ended": (_ended_root, Refused, "valid from"),
    "root is no authority": (_root_is_no_authority, Refused, "CA:TRUE"),
    "no room below the root": (_root_without_room, Refused, "no room"),
    "no room two levels up": (_grandparent_without_room, Refused, "no room"),
    "a pile of certificates": (_endless, Refused, "33 certificates"),
    "garbage": (lambda w, r: (b"garbage", b""), Malformed, None),
    "empty": (lambda w, r: (b"", b""), Malformed, None),
    "PEM without certificate": (
        lambda w, r: (b"-----BEGIN X-----\nAA==\n-----END X-----\n", b""),
        Malformed,
        "no cert",
    ),
    "chain cut off": (lambda w, r: (pem(good(w, r)), pem(r.certificate)[:200]), Malformed, None),
    "certificate cut off": (lambda w, r: (pem(good(w, r))[:-60], b""), Malformed, None),
}


@pytest.mark.row("F47")
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_certificate_is_refused_and_changes_nothing(waiting: World, bad: str) -> None:
    make, error, words = BAD[bad]
    certificate, chain = make(waiting, Elsewhere("Their Root"))
    before = everything(waiting)
    with pytest.raises(error, match=words):
        install(waiting, certificate, chain)
    assert everything(waiting) == before
    assert waiting.services.lookup.get("ext").row.lifecycle == "waiting_certificate"


@pytest.mark.row("F38")
@pytest.mark.parametrize(
    ("declared", "given", "fits"),
    [("1", 0, False), ("1", 1, True), ("1", None, True), ("null", 3, False), ("null", None, True), ("0", 0, True)],
)
def test_the_path_length_must_reach(sqlite_world: World, declared: str, given: int | None, fits: bool) -> None:
    sqlite_world.apply(f"authorities: [{{ name: ext, issuer: external, path_length: {declared} }}]")
    root = Elsewhere("Their Root")
    certificate = root.certify(name("ext"), request_of(sqlite_world).public_key(), path_length=given)
    if fits:
        install(sqlite_world, pem(certificate), pem(root.certificate))
        return
    before = everything(sqlite_world)
    with pytest.raises(Refused, match="path length"):
        install(sqlite_world, pem(certificate), pem(root.certificate))
    assert everything(sqlite_world) == before


def test_declared_constraints_must_be_in_the_certificate(sqlite_world: World) -> None:
    sqlite_world.apply(
        "authorities: [{ name: Ext, issuer: external, name_constraints: { permitted: { dns: [corp.example] } } }]"
        .replace("Ext", "ext")
    )  # fmt: skip
    root = Elsewhere("Their Root")
    key = request_of(sqlite_world).public_key()
    before = everything(sqlite_world)
    with pytest.raises(Refused, match="name_constraints"):
        install(sqlite_world, pem(root.certify(name("ext"), key)), pem(root.certificate))
    assert everything(sqlite_world) == before
    constraints = x509.NameConstraints([x509.DNSName("corp.example")], None)
    install(sqlite_world, pem(root.certify(name("ext"), key, extra=(constraints,))), pem(root.certificate))


def test_constraints_of_a_strangers_certificate_bind_what_we_issue(waiting: World) -> None:
    root = Elsewhere("Their Root")
    constraints = x509.NameConstraints([x509.DNSName("corp.example")], [x509.DNSName("secret.corp.example")])
    install(waiting, pem(good(waiting, root, extra=(constraints,))), pem(root.certificate))
    waiting.issued("ext/web-server", make_csr())
    for host in ("web.elsewhere.example", "x.secret.corp.example"):
        assert isinstance(waiting.issue("ext/web-server", make_csr(host, (host,))), Rejected)


def test_the_chain_may_come_in_the_same_file_in_any_order_with_others(waiting: World) -> None:
    root = Elsewhere("Their Root")
    middle = Elsewhere("Middle", root)
    strangers = [Elsewhere("Their Root").certificate, Elsewhere("Middle").certificate]
    install(waiting, pem(good(waiting, middle), *strangers, root.certificate, middle.certificate))
    exported = waiting.services.lookup.export("ext", "pem", chain=True)
    assert exported.endswith(pem(middle.certificate, root.certificate))


def test_a_root_that_was_renewed_or_crossed_does_not_confuse_the_chain(waiting: World) -> None:
    """The old key's certificate for the new one has the root's own name, and is no root."""
    new, old = Elsewhere("Their Root"), Elsewhere("Their Root")
    crossed = old.certify(name("Their Root"), new.key.public_key(), path_length=None)
    certificate = good(waiting, new)
    install(waiting, pem(certificate), pem(crossed, old.certificate, new.certificate))
    assert waiting.services.lookup.export("ext", "pem", chain=True) == pem(certificate, new.certificate)


def test_only_the_old_root_is_at_hand(waiting: World) -> None:
    new, old = Elsewhere("Their Root"), Elsewhere("Their Root")
    crossed = old.certify(name("Their Root"), new.key.public_key(), path_length=None)
    certificate = good(waiting, new)
    install(waiting, pem(certificate), pem(crossed, old.certificate))
    assert waiting.services.lookup.export("ext", "pem", chain=True) == pem(certificate, crossed, old.certificate)


def test_leaves_point_to_the_identifier_that_the_certificate_has(waiting: World) -> None:
    root = Elsewhere("Their Root")
    certificate = good(waiting, root, ski=b"another kind of hash")
    install(waiting, pem(certificate), pem(root.certificate))
    leaf = x509.load_der_x509_certificate(waiting.issued("ext/web-server", make_csr()).der)
    aki = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier == b"another kind of hash"
    renewed = request_of(waiting).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert renewed.digest == b"another kind of hash"


def test_leaves_repeat_the_subject_as_it_came_back(waiting: World) -> None:
    root = Elsewhere("Their Root")
    printable = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ext", x509.name._ASN1Type.PrintableString)])
    certificate = root.certify(printable, request_of(waiting).public_key())
    install(waiting, pem(certificate), pem(root.certificate))
    leaf = x509.load_der_x509_certificate(waiting.issued("ext/web-server", make_csr()).der)
    assert leaf.issuer.public_bytes() == printable.public_bytes()


@pytest.mark.parametrize("worse", [{"ski": b"another identifier!!"}])
def test_a_renewed_certificate_must_suit_what_was_issued(waiting: World, worse: dict[str, object]) -> None:
    root = Elsewhere("Their Root")
    install(waiting, pem(good(waiting, root)), pem(root.certificate))
    before = everything(waiting)
    with pytest.raises(Refused, match="key identifier"):
        install(waiting, pem(good(waiting, root, **worse)), pem(root.certificate))
    assert everything(waiting) == before


def test_a_renewed_certificate_replaces_the_one_before(waiting: World) -> None:
    root = Elsewhere("Their Root")
    first, second = good(waiting, root), good(waiting, root, not_after=NOW + 3000 * DAY)
    install(waiting, pem(first), pem(root.certificate))
    leaf = waiting.issued("ext/web-server", make_csr())
    install(waiting, pem(second), pem(root.certificate))
    assert waiting.services.lookup.export("ext", "pem") == pem(second)
    x509.load_der_x509_certificate(leaf.der).verify_directly_issued_by(second)
    again = waiting.issued("ext/web-server", make_csr())
    assert again.chain == (second.public_bytes(Encoding.DER),)


def test_installing_the_same_again_changes_nothing(waiting: World) -> None:
    root = Elsewhere("Their Root")
    certificate = pem(good(waiting, root))
    install(waiting, certificate, pem(root.certificate))
    before = everything(waiting)
    install(waiting, certificate, pem(root.certificate))
    assert everything(waiting) == before


def test_one_that_we_certify_ourselves_takes_none(sqlite_world: World) -> None:
    sqlite_world.apply("authorities: [{ name: ext }]")
    root = Elsewhere("Their Root")
    before = everything(sqlite_world)
    with pytest.raises(Conflict, match="external"):
        install(sqlite_world, pem(good(sqlite_world, root)), pem(root.certificate))
    assert everything(sqlite_world) == before


def test_a_retired_one_takes_none_and_waits_again_when_it_comes_back(waiting: World) -> None:
    root = Elsewhere("Their Root")
    certificate = pem(good(waiting, root))
    absent = EXTERNAL.replace("issuer:", "state: absent, issuer:")
    assert waiting.apply(absent, allow=(Action.RETIRE,)).exit_code == 0
    before = everything(waiting)
    with pytest.raises(Conflict, match="retired"):
        install(waiting, certificate, pem(root.certificate))
    assert everything(waiting) == before
    assert waiting.apply(EXTERNAL).exit_code == WAITING
    assert waiting.services.lookup.get("ext").row.lifecycle == "waiting_certificate"
    install(waiting, certificate, pem(root.certificate))
    assert waiting.services.lookup.get("ext").row.lifecycle == "active"


def test_while_a_new_generation_waits_the_old_one_goes_on_issuing(waiting: World) -> None:
    root = Elsewhere("Their Root")
    old = good(waiting, root)
    install(waiting, pem(old), pem(root.certificate))
    waiting.services.authorities.finish("ext", OPERATOR)
    raised = EXTERNAL.replace("issuer:", "key: { generation: 2 }, rollover: { cross_certificates: true }, issuer:")
    assert waiting.apply(raised, allow=(Action.ROLLOVER,)).exit_code == WAITING
    leaf = waiting.issued("ext/web-server", make_csr())
    x509.load_der_x509_certificate(leaf.der).verify_directly_issued_by(old)
    new = good(waiting, root)
    assert new.public_key() != old.public_key()
    install(waiting, pem(new), pem(root.certificate))
    waiting.services.authorities.finish("ext", OPERATOR)
    leaf = waiting.issued("ext/web-server", make_csr())
    x509.load_der_x509_certificate(leaf.der).verify_directly_issued_by(new)
    roles = [row.role for row in waiting.services.lookup.get("ext").certificates]
    assert sorted(roles) == ["cross", "cross", "external", "external"]
