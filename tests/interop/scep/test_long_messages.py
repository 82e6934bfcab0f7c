"""Messages by GET that are longer than servers usually take, over each server (RFC 8894 §4.1)."""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.interop.scep.pki import PASSPHRASE, PKI, running_pki
from tests.scep_client import Answer, Device, Wish, make_request, message, read_answer

PATH = "/scep/ec/device"


def exchange(pki: PKI, line: str) -> tuple[bytes, bytes]:
    """Status line and body of an answer. The client waits: granian forgets one that has closed its side."""
    with socket.create_connection(("127.0.0.1", pki.server.port), timeout=60) as connection:
        connection.sendall(f"{line}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], body


def ask(pki: PKI, device: Device, version: str, names: int) -> tuple[int, Answer]:
    """The length of the request line, and what came back."""
    _, bag = pki.server.request("GET", f"{PATH}?operation=GetCACert")
    recipient = cms.ContentInfo.load(bag)["content"]["certificates"][0].chosen.dump()
    listed = [f"device-{number:03}.with-a-long-name.corp.example" for number in range(names)]
    asked = make_request(device.key, challenge=PASSPHRASE, dns=listed)
    wish = Wish(transaction=f"{names}-{version}", certificates=(device.certificate,) * 2)
    text = quote(base64.encodebytes(message(device, asked, recipient, wish)).decode(), safe="")
    line = f"GET {PATH}/pkiclient.exe?operation=PKIOperation&message={text} HTTP/{version}"
    status, body = exchange(pki, line)
    assert status.split()[1:2] == [b"200"], (status, body)
    return len(line), read_answer(body, device.key)


@pytest.mark.parametrize("name", ["gunicorn", "granian"])
def test_long_messages(tmp_path: Path, name: str) -> None:
    device = Device.of(rsa.generate_private_key(65537, 4096))
    with running_pki(tmp_path, name) as pki:
        for version, names, least in (("1.1", 60, 10_000), ("1.0", 61, 10_000), ("1.1", 170, 16_384)):
            size, answer = ask(pki, device, version, names)
            assert least < size < 32_768
            san = answer.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert len(san.get_values_for_type(x509.DNSName)) == names
        for version in ("1.1", "1.0"):
            status, _ = exchange(pki, f"GET {PATH}?operation=PKIOperation&message={'A' * 70_000} HTTP/{version}")
            assert status.split()[1:2] == [b"414"], status
        assert pki.server.answers()
