"""Clients that cannot run here, by what they send and need to hear: Certify The Web, cert-manager, win-acme."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.acme_world import challenge_responder
from tests.interop.acme.pki import PKI
from tests.interop.acme.wire import CERTIFY_THE_WEB, MANNERS, Heard, PrivateKey, Wire, b64

LINK = re.compile(r'<[^<>"\s]+>;rel="[a-z-]+"')
"""As win-acme's expression reads a Link header: no space, in quotes, one a header."""


def request_for(names: tuple[str, ...], key: PrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names_of = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    return b64(builder.add_extension(names_of, False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


@pytest.fixture(params=MANNERS, ids=lambda manner: manner.name.replace(" ", "-"))
def wire(request: pytest.FixtureRequest, pki: PKI) -> Iterator[Wire]:
    opened = Wire(request.param, pki.directory, pki.root)
    yield opened
    opened.close()


@pytest.fixture
def certify(pki: PKI) -> Iterator[Wire]:
    opened = Wire(CERTIFY_THE_WEB, pki.directory, pki.root)
    registered(opened, pki)
    yield opened
    opened.close()


def registered(wire: Wire, pki: PKI) -> Heard:
    wish = {
        "contact": ["mailto:ops@corp.example"],
        "termsOfServiceAgreed": True,
        "externalAccountBinding": wire.binding(pki.kid, pki.hmac_key),
    }
    heard = wire.post(wire.directory["newAccount"], wish)
    assert heard.status == 201, heard.body
    wire.account = heard.headers["location"]
    return heard


def ordered(wire: Wire, *names: str) -> Heard:
    identifiers = [{"type": "dns", "value": name} for name in names]
    heard = wire.post(wire.directory["newOrder"], {"identifiers": identifiers})
    assert heard.status == 201, heard.body
    return heard


def waited(wire: Wire, url: str) -> Heard:
    """Asks again as cert-manager does: after Retry-After seconds where the server gives them, which are whole."""
    for _ in range(100):
        heard = wire.post(url)
        if heard.json["status"] not in ("pending", "processing"):
            return heard
        assert int(heard.headers.get("retry-after", "1")) > 0
        time.sleep(0.1)
    raise AssertionError(heard.body)


@pytest.mark.row("F110")
@pytest.mark.row("F113")
def test_the_whole_way(wire: Wire, pki: PKI, tmp_path: Path) -> None:
    if wire.manner.probes:
        probed = wire.post(wire.directory["newAccount"], {"onlyReturnExisting": True})
        assert probed.status == 400
        assert probed.json["type"] == "urn:ietf:params:acme:error:accountDoesNotExist"
    made = registered(wire, pki)
    account = made.json
    assert account["status"] == "valid"
    assert account["contact"] == ["mailto:ops@corp.example"]
    assert isinstance(account["orders"], str)
    name = f"wire-{wire.manner.name.replace(' ', '-').lower()}.corp.example"
    order = ordered(wire, name)
    location = order.headers["location"]
    authorization = wire.post(order.json["authorizations"][0])
    assert authorization.json["identifier"] == {"type": "dns", "value": name}
    challenge = next(one for one in authorization.json["challenges"] if one["type"] == "http-01")
    with challenge_responder({challenge["token"]: f"{challenge['token']}.{wire.thumbprint}"}, pki.http):
        accepted = wire.post(challenge["url"], {})
        assert accepted.status == 200
        assert f'<{order.json["authorizations"][0]}>;rel="up"' in accepted.links
        assert waited(wire, order.json["authorizations"][0]).json["status"] == "valid"
    key = ec.generate_private_key(ec.SECP256R1())
    done = wire.post(order.json["finalize"], {"csr": request_for((name,), key)})
    assert done.status == 200
    assert done.headers["location"] == location  # golang.org/x/crypto, mod_md and acme.sh go on from there
    finished = waited(wire, location)
    assert finished.json["status"] == "valid"
    chain = wire.post(finished.json["certificate"])
    assert chain.headers["content-type"].partition(";")[0] == "application/pem-certificate-chain"
    assert all(LINK.fullmatch(link) for heard in (made, order, accepted, done, chain) for link in heard.links)
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(chain.body)
    pki.verified(leaf, name=name)
    listed = wire.post(account["orders"])
    assert listed.json["orders"] == [location]


@pytest.mark.row("F111")
def test_one_chain_is_offered(certify: Wire) -> None:
    """So that an empty *preferred chain* means this one."""
    chain = issued(certify, ("one-chain.known.example",), ec.generate_private_key(ec.SECP256R1()))
    assert not [link for link in chain.links if 'rel="alternate"' in link]


def issued(wire: Wire, names: tuple[str, ...], key: PrivateKey) -> Heard:
    """Over pre-approved names."""
    order = ordered(wire, *names)
    assert order.json["status"] == "ready", order.json
    done = wire.post(order.json["finalize"], {"csr": request_for(names, key)})
    assert done.status == 200, done.body
    return wire.post(waited(wire, order.headers["location"]).json["certificate"])


@pytest.mark.row("F110")
@pytest.mark.parametrize("name", ["intranet", "erp.internal", "xn--bcher-kva.known.example"])
def test_internal_host_names(certify: Wire, pki: PKI, tmp_path: Path, name: str) -> None:
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(issued(certify, (name,), ec.generate_private_key(ec.SECP256R1())).body)
    assert f"DNS:{name}" in pki.verified(leaf, name=name)


def test_a_hundred_names(certify: Wire, pki: PKI, tmp_path: Path) -> None:
    names = tuple(f"n{number}.known.example" for number in range(100))
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(issued(certify, names, ec.generate_private_key(ec.SECP256R1())).body)
    text = pki.verified(leaf, name="n99.known.example")
    assert all(f"DNS:{name}" in text for name in names)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "2048 bit"),
        (lambda: rsa.generate_private_key(65537, 3072), "3072 bit"),
        (lambda: rsa.generate_private_key(65537, 4096), "4096 bit"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), "256 bit"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "384 bit"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "521 bit"),
    ],
    ids=["RSA-2048", "RSA-3072", "RSA-4096", "P-256", "P-384", "P-521"],
)
def test_every_kind_of_key(certify: Wire, pki: PKI, tmp_path: Path, make: Callable[[], PrivateKey], size: str) -> None:
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(issued(certify, ("keys.known.example",), make()).body)
    assert size in pki.verified(leaf, name="keys.known.example")


def test_a_certificate_of_the_account_is_revoked_over_the_wire(wire: Wire, pki: PKI, tmp_path: Path) -> None:
    registered(wire, pki)
    name = f"gone-{wire.manner.name.replace(' ', '-').lower()}.known.example"
    chain = issued(wire, (name,), ec.generate_private_key(ec.SECP256R1()))
    leaf = x509.load_pem_x509_certificates(chain.body)[0]
    heard = wire.post(wire.directory["revokeCert"], {"certificate": b64(leaf.public_bytes(Encoding.DER)), "reason": 4})
    assert (heard.status, heard.body) == (200, b"")
    file = tmp_path / "leaf.pem"
    file.write_bytes(chain.body)
    assert pki.is_revoked(file, "issuing")
