"""The certificate that the PKI issues to its own TLS listener, and the one file it lies in."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pkiconf.errors import Malformed, NotFound, PkiconfError, Refused
from pkiconf.store import certificates
from tests.authority.elsewhere import everything
from tests.authority.following import revoke
from tests.world import World

PKI = """
authorities: [ { name: root }, { name: sub, issuer: root } ]
templates:
  - { name: tls, authority: sub, starter: web-server }
  - { name: narrow, authority: sub, starter: web-server, names: { allow: { dns: ["*.corp.example"] } } }
"""
NAMES = ("pki.corp.example", "192.0.2.1")


@pytest.fixture
def pki(sqlite_world: World) -> World:
    assert sqlite_world.apply(PKI).exit_code == 0
    return sqlite_world


def ensure(world: World, *names: str, template: str = "sub/tls") -> Path:
    return world.services.listener.ensure(template, names or NAMES)


def own(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def test_key_and_chain_lie_in_one_file_that_a_server_can_load(pki: World) -> None:
    path = ensure(pki)
    assert path.stat().st_mode & 0o077 == 0
    leaf, issuer = x509.load_pem_x509_certificates(path.read_bytes())
    leaf.verify_directly_issued_by(issuer)
    sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sans.get_values_for_type(x509.DNSName) == ["pki.corp.example"]
    assert sans.get_values_for_type(x509.IPAddress) == [ip_address("192.0.2.1")]
    assert load_pem_private_key(path.read_bytes(), None).public_key() == leaf.public_key()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_a_good_one_stays(pki: World) -> None:
    before = ensure(pki).read_bytes()
    database = everything(pki)
    pki.pass_time(timedelta(days=59))
    assert ensure(pki).read_bytes() == before
    assert everything(pki) == database


def _past_two_thirds(world: World, path: Path) -> None:
    world.pass_time(timedelta(days=61))


def _revoked(world: World, path: Path) -> None:
    serial = own(path).serial_number.to_bytes(19)
    (row,) = world.parts.db.read(lambda c: certificates.list_by_serial(c, serial))
    revoke(world, world.services.certificates.get(row.serial.hex()).id)


def _without_key(world: World, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"-----BEGIN CERTIFICATE") :])


def _cut_off(world: World, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def _key_of_another(world: World, path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    other = ensure(world).read_bytes()
    mark = b"-----BEGIN CERTIFICATE"
    path.write_bytes(data[: data.index(mark)] + other[other.index(mark) :])


SPOILT: dict[str, Callable[[World, Path], object]] = {
    "two thirds over": _past_two_thirds,
    "revoked": _revoked,
    "missing": lambda world, path: path.unlink(),
    "empty": lambda world, path: path.write_bytes(b""),
    "garbage": lambda world, path: path.write_bytes(b"\xff\x00" * 100),
    "without its key": _without_key,
    "cut off": _cut_off,
    "another's key": _key_of_another,
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_one_is_made_anew(pki: World, spoilt: str) -> None:
    path = ensure(pki)
    first = own(path)
    SPOILT[spoilt](pki, path)
    second = own(ensure(pki))
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_other_names_need_another(pki: World) -> None:
    first = own(ensure(pki))
    second = own(ensure(pki, "pki2.corp.example"))
    assert second.serial_number != first.serial_number


@pytest.mark.parametrize(
    ("template", "names", "error"),
    [
        ("sub/narrow", ("pki.elsewhere.example",), Refused),
        ("sub/nothing", NAMES, NotFound),
        ("sub/tls", ("not a host name",), PkiconfError),
    ],
)
def test_what_the_template_does_not_allow_is_not_made(
    pki: World, template: str, names: tuple[str, ...], error: type[PkiconfError]
) -> None:
    before = everything(pki)
    with pytest.raises(error):
        ensure(pki, *names, template=template)
    assert everything(pki) == before
    assert not pki.services.listener.path.exists()


def test_no_names_is_said(pki: World) -> None:
    with pytest.raises(Malformed, match="no names"):
        pki.services.listener.ensure("sub/tls", ())
