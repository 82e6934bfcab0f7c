"""PKCS#10 certification requests (RFC 2986): read with the signature checked, and made.

The structure is taken apart by hand, so that the signature is checked over the very octets that were signed and
the key is copied as it came. It also forgives what requesters in use get wrong without harm: strongSwan's SET of
attributes in another order than DER's, a missing attribute list, Microsoft's own attribute for extensions.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from pkiconf.der import oids
from pkiconf.der.algorithms import encode_algorithm, parse_algorithm
from pkiconf.der.extension_list import encode_extensions, parse_extensions
from pkiconf.der.keys import parse_public_key
from pkiconf.der.names import parse_general_names, parse_name
from pkiconf.der.pem import der_or_pem
from pkiconf.der.reader import Reader, parse_bit_string
from pkiconf.der.tlv import (
    BIT_STRING,
    CONSTRUCTED,
    CONTEXT,
    INTEGER,
    OBJECT_IDENTIFIER,
    SEQUENCE,
    SET,
    Element,
    encode_sequence,
    encode_set,
    encode_tlv,
    read_element,
    read_elements,
)
from pkiconf.der.verify import verify_rsa_sha1, verify_signature
from pkiconf.errors import Malformed, Unverified
from pkiconf.model.certificate import Extension
from pkiconf.model.keys import SignatureAlgorithm
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.request import CertificateRequest

MAX_REQUEST_SIZE: Final = 64 * 1024
PEM_LABELS: Final = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")

_VERSION_1: Final = b"\x02\x01\x00"
_ATTRIBUTES: Final = CONTEXT | CONSTRUCTED | 0
_SHA1_WITH_RSA: Final = oids.encode_oid(oids.SHA1_WITH_RSA)
# The choices of DirectoryString, and IA5String: tag → encoding (X.520 §6.1)
_STRINGS: Final = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
_EXTENSION_REQUESTS: Final = (oids.EXTENSION_REQUEST, oids.MS_EXTENSION_REQUEST)


def parse_csr(data: bytes) -> CertificateRequest:
    """Read a request of at most 64 KiB: PEM, DER, or base64 without armour.

    Raises Unverified when the signature was not made with the key that is asked for, UnsupportedAlgorithm for a
    key or signature algorithm that is not in the table, and Malformed for all else that cannot be read: BER,
    trailing data, an attribute or extension that stands twice, a NUL in a name.
    """
    if len(data) > MAX_REQUEST_SIZE:
        raise Malformed(f"the request has {len(data)} octets, more than {MAX_REQUEST_SIZE}")
    return _parse(_to_der(data), sha1=False)[0]


def parse_csr_with_challenge(der: bytes, *, sha1: bool) -> tuple[CertificateRequest, str | None]:
    """A DER request and its challengePassword (RFC 2985 §5.4.1), without the NUL or line end that some put behind it.

    `sha1`: an RSA key may prove itself by a signature with SHA-1. Raises what `parse_csr` raises.
    """
    request, attributes = _parse(der, sha1=sha1)
    return request, _challenge_of(attributes)


def _parse(der: bytes, *, sha1: bool) -> tuple[CertificateRequest, dict[str, bytes]]:
    """The request, and its attributes: type → content of the SET of values."""
    whole = Reader.over(der, "the request")
    info, algorithm, signature = whole.take(SEQUENCE), whole.take(SEQUENCE), whole.take(BIT_STRING)
    whole.close()
    subject, spki, elements = _take_info(info)
    key = parse_public_key(spki)
    _check_possession(spki, algorithm, info, parse_bit_string(signature, "the signature of the request"), sha1=sha1)
    attributes = _read_attributes(elements)
    extensions = _requested_extensions(attributes)
    sans, sans_critical = _subject_alternative_names(extensions)
    others = tuple(extension for extension in extensions if extension.oid != oids.SUBJECT_ALTERNATIVE_NAME)
    return CertificateRequest(der, subject, spki, key, sans, sans_critical, others), attributes


def _to_der(data: bytes) -> bytes:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # PowerShell's redirection writes UTF-16
        data = data.decode("utf-16", errors="replace").encode("ascii", errors="replace")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data[:1] == b"\x30" or b"-----BEGIN" in data:
        return der_or_pem(data, PEM_LABELS)
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        raise Malformed("the request is neither PEM nor DER nor base64", "Send what `openssl req` writes") from None


def _take_info(info: Element) -> tuple[Name, bytes, list[Element]]:
    """Subject, SubjectPublicKeyInfo and attributes of a CertificationRequestInfo."""
    reader = Reader(info, "the request")
    if reader.take(INTEGER).der != _VERSION_1:
        raise Malformed("the request is not of version 1, the only one there is (RFC 2986 §4.1)")
    subject = parse_name(reader.take(SEQUENCE).der)
    spki = reader.take(SEQUENCE).der
    attributes = reader.take_optional(_ATTRIBUTES)
    reader.close()
    if any("\0" in attribute.value for attribute in subject.attributes):
        raise Malformed("the subject of the request holds a NUL")
    return subject, spki, read_elements(attributes.content, "the attributes of the request") if attributes else []


def _check_possession(spki: bytes, algorithm: Element, info: Element, signature: bytes, *, sha1: bool) -> None:
    try:
        if sha1 and algorithm.content.startswith(_SHA1_WITH_RSA):
            verify_rsa_sha1(spki, info.der, signature)
        else:
            verify_signature(spki, parse_algorithm(algorithm.der), info.der, signature)
    except Unverified as error:
        raise Unverified(
            f"the request is not signed with its own key: {error.detail}", "Make the request anew with the private key"
        ) from None


def _read_attributes(elements: Sequence[Element]) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for attribute in elements:
        reader = Reader(attribute, "an attribute of the request")
        oid = oids.decode_oid(reader.take(OBJECT_IDENTIFIER).der, "the type of an attribute of the request")
        value = reader.take(SET)
        reader.close()
        if oid in values:
            raise Malformed(f"the request has attribute {oid} twice")
        values[oid] = value.content
    return values


def _challenge_of(attributes: Mapping[str, bytes]) -> str | None:
    content = attributes.get(oids.CHALLENGE_PASSWORD)
    if content is None:
        return None
    what = "the challenge password of the request"
    text = read_element(content, what)
    try:
        return text.content.decode(_STRINGS[text.tag]).rstrip("\0\r\n")
    except (KeyError, UnicodeDecodeError):
        raise Malformed(f"{what} is not text") from None


def _requested_extensions(values: Mapping[str, bytes]) -> tuple[Extension, ...]:
    wishes = [_parse_extension_request(values[oid]) for oid in _EXTENSION_REQUESTS if oid in values]
    if len(wishes) == 2 and wishes[0] != wishes[1]:
        raise Malformed("the request lists its extensions twice, differently", "Ask for them in one attribute")
    return wishes[0] if wishes else ()


def _parse_extension_request(content: bytes) -> tuple[Extension, ...]:
    listed = read_element(content, "the extension request", SEQUENCE)
    # An empty list wishes for nothing; old Java and Cisco clients write it.
    return parse_extensions(listed, "the request") if listed.content else ()


def _subject_alternative_names(extensions: Sequence[Extension]) -> tuple[tuple[GeneralName, ...], bool]:
    for extension in extensions:
        if extension.oid == oids.SUBJECT_ALTERNATIVE_NAME:
            return parse_general_names(extension.value), extension.critical
    return (), False


def encode_csr_info(subject: bytes, spki: bytes, extensions: Sequence[Extension] = ()) -> bytes:
    """CertificationRequestInfo, which the requester signs. `subject` is a DER Name, `spki` copied byte for byte.

    Raises Malformed for an extension given twice.
    """
    attributes = b""
    if extensions:
        listed = encode_set((encode_extensions(extensions),))
        attributes = encode_sequence((oids.encode_oid(oids.EXTENSION_REQUEST), listed))
    return encode_sequence((_VERSION_1, subject, spki, encode_tlv(_ATTRIBUTES, attributes)))


def assemble_csr(info: bytes, algorithm: SignatureAlgorithm, signature: bytes) -> bytes:
    """CertificationRequest: the signed octets, unchanged, with their signature."""
    return encode_sequence((info, encode_algorithm(algorithm), encode_tlv(BIT_STRING, b"\0" + signature)))
