"""Textual encodings of DER (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Sequence
from typing import Final

from pkiconf.errors import Malformed

_LABEL: Final = rb"[!-,.-~](?:[ -]?[!-,.-~])*"
_BEGIN: Final = re.compile(rb"^[ \t]*-----BEGIN (" + _LABEL + rb")-----[ \t]*\r?$", re.MULTILINE)
_HEADERS: Final = re.compile(rb"\A\s*(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+\r?\n")


def pem_encode(label: str, der: bytes) -> str:
    """One armoured block: lines of 64 characters, each ended by a line feed."""
    text = base64.b64encode(der).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def pem_decode_all(data: bytes, label: str | None = None) -> list[bytes]:
    """The DER of every block with that label, in order; None takes all. Text around the blocks is skipped,
    as RFC 7468 §2 allows. Raises Malformed for a block that is cut off or not base64."""
    return [der for found, der in pem_blocks(data) if label is None or found == label]


def pem_blocks(data: bytes) -> list[tuple[str, bytes]]:
    """Every block as its label and its DER. Raises Malformed."""
    data = _text(data)
    blocks = []
    at = 0
    while begin := _BEGIN.search(data, at):
        label = begin[1].decode("ascii")
        end = data.find(b"-----END " + begin[1] + b"-----", begin.end())
        if end < 0:
            raise Malformed(f"the PEM block {label!r} has no end line", "The file may be cut off")
        blocks.append((label, _decode_body(data[begin.end() : end], label)))
        at = end
    return blocks


def _text(data: bytes) -> bytes:
    """Without a byte order mark. PowerShell redirects into UTF-16."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode("ascii", "replace")
    return data.removeprefix(codecs.BOM_UTF8)


def _decode_body(body: bytes, label: str) -> bytes:
    # RFC 1421 headers, which old OpenSSL writes before an encrypted key, are no base64.
    if _HEADERS.match(body):
        raise Malformed(
            f"the PEM block {label!r} has headers of the old encrypted format",
            "Convert the key with: openssl pkcs8 -topk8 -in OLD -out NEW",
        )
    text = b"".join(body.split())
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Malformed(f"the PEM block {label!r} is not base64") from None


def der_or_pem(data: bytes, labels: Sequence[str]) -> bytes:
    """The DER of `data`, which is DER itself or holds exactly one PEM block with one of `labels`.
    Raises Malformed that says what was found instead."""
    # Text may begin with 0x30 too: it is the digit 0.
    if data[:1] == b"\x30" and not _BEGIN.search(data):
        return data
    wanted = " or ".join(labels)
    blocks = pem_blocks(data)
    fitting = [der for label, der in blocks if label in labels]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise Malformed(f"{len(fitting)} blocks {wanted} where one belongs")
    if blocks:
        raise Malformed(f"the file holds {', '.join(label for label, _ in blocks)} where {wanted} belongs")
    raise Malformed(
        f"neither DER nor a PEM block {wanted}", "The file begins with " + repr(data[:16]) if data else "It is empty"
    )
