from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.pem import der_or_pem, pem_blocks, pem_decode_all, pem_encode
from pkiconf.errors import Malformed

DER = b"\x30\x82\x01\x00" + bytes(range(256))


@given(st.binary(max_size=400))
def test_what_is_armoured_comes_out_again(der: bytes) -> None:
    assert pem_blocks(pem_encode("X509 CRL", der).encode()) == [("X509 CRL", der)]


def test_the_armour_is_that_of_openssl() -> None:
    key = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
    [(label, der)] = pem_blocks(key)
    assert pem_encode(label, der).encode() == key


def test_text_and_other_labels_around_the_blocks_are_skipped() -> None:
    text = f"subject=CN = web\n{pem_encode('CERTIFICATE', b'one')}\n\n{pem_encode('PRIVATE KEY', b'two')}tail\n"
    assert pem_decode_all(text.encode(), "CERTIFICATE") == [b"one"]
    assert pem_decode_all(text.encode()) == [b"one", b"two"]


def test_windows_line_ends_and_trailing_blanks_are_read() -> None:
    text = pem_encode("CERTIFICATE", DER).replace("-----\n", "----- \n").replace("\n", "\r\n")
    assert pem_decode_all(text.encode(), "CERTIFICATE") == [DER]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_of_windows_editors_are_read(encoding: str) -> None:
    assert pem_decode_all(pem_encode("CERTIFICATE", DER).encode(encoding)) == [DER]


def test_indented_blocks_and_text_that_begins_with_a_zero_are_read() -> None:
    indented = "\n".join("    " + line for line in pem_encode("CERTIFICATE", DER).splitlines())
    assert der_or_pem(f"0 s:CN = web\n{indented}".encode(), ["CERTIFICATE"]) == DER


def test_der_passes_as_it_is() -> None:
    assert der_or_pem(DER, ["CERTIFICATE"]) == DER


def test_any_of_the_labels_will_do() -> None:
    labels = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
    for label in labels:
        assert der_or_pem(pem_encode(label, DER).encode(), labels) == DER


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither DER nor a PEM block CERTIFICATE"),
        (b"hello", "neither"),
        (b"\x31\x00", "neither"),
        (pem_encode("PRIVATE KEY", DER).encode(), "holds PRIVATE KEY where CERTIFICATE"),
        (pem_encode("CERTIFICATE", DER).encode() * 2, "2 blocks CERTIFICATE"),
        (pem_encode("CERTIFICATE", DER).encode()[:-20], "no end line"),
        (b"-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "not base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n", "not base64"),
        (b"-----BEGIN CERTIFICATE-----\nAA*A\n-----END CERTIFICATE-----\n", "not base64"),
        (b"-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END CERTIFICATE-----\n", "old encrypted"),
    ],
)
def test_what_is_found_instead_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        der_or_pem(data, ["CERTIFICATE"])


@given(st.binary(max_size=300) | st.text("-BEGINDX \n=A", max_size=120).map(str.encode))
def test_any_octets_are_read_or_malformed(data: bytes) -> None:
    try:
        pem_blocks(data)
        der_or_pem(data, ["CERTIFICATE"])
    except Malformed:
        pass
