"""tls-alpn-01: real handshakes with certificates that fit, and for each clause of RFC 8737 one that does not."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.reach import Reach, connect
from pkiconf.egress.tls_alpn import PROTOCOL, check_tls_alpn, server_name
from pkiconf.egress.unproved import Unproved
from pkiconf.model.acme import Identifier, IdentifierType, ProblemType
from pkiconf.policy.targets import TargetRules
from tests.egress.certificates import ACME_IDENTIFIER, Made, context_with, digest_of, self_signed
from tests.egress.servers import server, tls_server, until_it_leaves
from tests.egress.test_http_challenge import LOOPBACK, Book
from tests.tools import accepted as done
from tests.tools import run_tool

NAME = Identifier(IdentifierType.DNS, "web.corp.example")
ADDRESS = Identifier(IdentifierType.IP, "127.0.0.1")
EXPECTED = "token.thumbprint"
DIGEST = digest_of(EXPECTED)


def check(port: int, identifier: Identifier = NAME, rules: TargetRules = LOOPBACK, seconds: float = 10) -> None:
    book = Book({NAME.value: [("127.0.0.1",)]})
    check_tls_alpn(identifier, EXPECTED, port, Reach(book, rules, connect), Deadline.within(seconds))


def refusal(context: ssl.SSLContext, identifier: Identifier = NAME) -> tuple[ProblemType, str]:
    with ExitStack() as stack, pytest.raises(Unproved) as refused:
        check(stack.enter_context(tls_server(context)), identifier)  # type: ignore[arg-type]
    problem = refused.value.problem
    assert problem.detail.isprintable()
    return problem.type, problem.detail


def accepted(made: Made, identifier: Identifier = NAME, **more: ssl.TLSVersion) -> list[str | None]:
    seen: list[str | None] = []
    with ExitStack() as stack:
        context = context_with(made, PROTOCOL, **more)
        check(stack.enter_context(tls_server(context, seen)), identifier)  # type: ignore[arg-type]
    return seen


def fits() -> Made:
    return self_signed([NAME.value], DIGEST)


def test_the_certificate_that_proves_it() -> None:
    assert accepted(fits()) == [NAME.value]


def test_names_have_no_case() -> None:
    accepted(self_signed(["Web.Corp.Example"], DIGEST))


def test_tls_1_2_is_enough() -> None:
    accepted(fits(), version=ssl.TLSVersion.TLSv1_2)


def test_an_address_is_asked_for_by_its_reverse_name() -> None:
    """RFC 8738 §6: SNI is the reverse name, the certificate holds the address."""
    assert accepted(self_signed(["127.0.0.1"], DIGEST), ADDRESS) == ["1.0.0.127.in-addr.arpa"]
    v6 = server_name(Identifier(IdentifierType.IP, "2001:db8::1"))
    assert v6 == "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"


@pytest.mark.parametrize("serial", ["0xaec414bed2f86a98cb4778db2f73d7f67bee8d50", "-5", "0"])
def test_nobody_looks_it_up_by_its_number(serial: str, tmp_path: Path) -> None:
    """mod_md takes 160 random bits: every other time these are 21 octets, one more than RFC 5280 allows."""
    done(run_tool(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
        "-addext", f"subjectAltName=DNS:{NAME.value}", "-set_serial", serial,
        "-addext", f"{ACME_IDENTIFIER.dotted_string}=critical,DER:{DIGEST.hex()}",
        "-keyout", tmp_path / "made.pem", "-out", tmp_path / "certificate.pem",
    ))  # fmt: skip
    with (tmp_path / "made.pem").open("a") as file:
        file.write((tmp_path / "certificate.pem").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([PROTOCOL])
    context.load_cert_chain(tmp_path / "made.pem")
    with ExitStack() as stack:
        check(stack.enter_context(tls_server(context)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        # RFC 8737 §3: "a subjectAltName extension containing the dNSName being validated and no other entries"
        (self_signed([NAME.value, "other.corp.example"], DIGEST), "2 subject alternative names"),
        (self_signed([NAME.value, NAME.value], DIGEST), "2 subject alternative names"),
        (self_signed([NAME.value, x509.RFC822Name("a@web.corp.example")], DIGEST), "2 subject alternative names"),
        (self_signed(["other.corp.example"], DIGEST), "not for dns:web.corp.example"),
        (self_signed(["*.corp.example"], DIGEST), "not for dns:web.corp.example"),
        (self_signed(["a.web.corp.example"], DIGEST), "not for"),
        (self_signed(["1.0.0.127.in-addr.arpa"], DIGEST), "not for"),
        (self_signed(["127.0.0.1"], DIGEST), "not for"),
        (self_signed([x509.RFC822Name("a@web.corp.example")], DIGEST), "not for"),
        (self_signed([x509.UniformResourceIdentifier("https://web.corp.example")], DIGEST), "not for"),
        (self_signed([], DIGEST), "no subject alternative name"),
        # "an acmeIdentifier extension … MUST be critical"
        (self_signed([NAME.value], DIGEST, critical=False), "not critical"),
        (self_signed([NAME.value]), "no acmeIdentifier extension"),
        (
            self_signed([NAME.value], DIGEST, oid=x509.ObjectIdentifier("1.3.6.1.5.5.7.1.30.1")),
            "extension of an old draft",
        ),
        # "Authorization ::= OCTET STRING (SIZE (32))", the SHA-256 of the key authorization
        (self_signed([NAME.value], digest_of("token.other")), "is expected"),
        (self_signed([NAME.value], b"\x04\x20" + bytes(32)), "0000"),
        (self_signed([NAME.value], b"\x04\x00"), "nothing"),
        (self_signed([NAME.value], b"\x04\x21" + DIGEST[2:] + b"\x00"), "is expected"),
        (self_signed([NAME.value], DIGEST[2:]), "acmeIdentifier extension"),
        (self_signed([NAME.value], DIGEST + b"\x00"), "followed by 1 more"),
        (self_signed([NAME.value], b"\x0c\x20" + DIGEST[2:]), "tag 0x0c"),
        (self_signed([NAME.value], b"\x04\x2b" + EXPECTED.ljust(43).encode()), "is expected"),
        # "a self-signed certificate"
        (self_signed([NAME.value], DIGEST, issuer="somebody else"), "not self-signed"),
        (
            self_signed([NAME.value], DIGEST, signed_by=ec.generate_private_key(ec.SECP256R1())),
            "signature does not hold",
        ),
    ],
)
def test_certificates_that_do_not_prove_it(made: Made, said: str) -> None:
    type, detail = refusal(context_with(made, PROTOCOL))
    assert type is ProblemType.INCORRECT_RESPONSE
    assert said in detail
    assert "web.corp.example at 127.0.0.1:" in detail


@pytest.mark.parametrize("names", [[NAME.value], ["127.0.0.2"], ["1.0.0.127.in-addr.arpa"], ["::ffff:127.0.0.1"]])
def test_an_address_needs_its_own_certificate(names: list[str]) -> None:
    type, detail = refusal(context_with(self_signed(names, DIGEST), PROTOCOL), ADDRESS)
    assert (type, "not for ip:127.0.0.1" in detail) == (ProblemType.INCORRECT_RESPONSE, True)


@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2", "http/1.1"), ("acme-tls/2",), ("ACME-TLS/1",)])
def test_the_protocol_has_to_be_chosen(protocols: tuple[str, ...]) -> None:
    """§3: "If the server … does not negotiate acme-tls/1", whatever its certificate says."""
    type, detail = refusal(context_with(fits(), *protocols))
    assert type is ProblemType.TLS
    assert PROTOCOL in detail


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_tls() -> None:
    """§4: TLS 1.2 or later."""
    type, detail = refusal(context_with(fits(), PROTOCOL, version=ssl.TLSVersion.TLSv1_1))
    assert (type, "TLS 1.2 or later" in detail) == (ProblemType.TLS, True)


@pytest.mark.parametrize(
    "octets", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"", b"\x15\x03\x03\x00\x02\x02\x28"]
)
def test_what_is_no_tls(octets: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(octets)

    with server(answer) as port, pytest.raises(Unproved) as refused:
        check(port)
    assert refused.value.problem.type in (ProblemType.TLS, ProblemType.CONNECTION)
    assert "no TLS handshake with web.corp.example at 127.0.0.1" in refused.value.problem.detail


def test_silence_ends_at_the_deadline() -> None:
    begun = time.monotonic()
    with server(until_it_leaves) as port, pytest.raises(Unproved, match="in time"):
        check(port, seconds=0.3)
    assert time.monotonic() - begun < 9


def test_nobody_listens_and_what_is_refused() -> None:
    with pytest.raises(Unproved, match="connection refused"):
        check(1)
    with pytest.raises(Unproved, match="is not connected to: it is a loopback address"):
        check(1, rules=TargetRules())
    with pytest.raises(Unproved, match="is not connected to"):
        check(1, ADDRESS, TargetRules())


def test_the_vectors_are_what_the_rfc_says() -> None:
    certificate, _ = fits()
    extension = certificate.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert extension.critical
    assert extension.value.public_bytes() == b"\x04\x20" + sha256(EXPECTED.encode()).digest()
    assert ip_address(ADDRESS.value).reverse_pointer == server_name(ADDRESS)
