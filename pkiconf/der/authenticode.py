"""Timestamps as signtool wanted them before RFC 3161: base64 countersignatures (`signtool /t`, `osslsigncode -t`)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.der import oids
from pkiconf.der.reader import Reader, unwrap
from pkiconf.der.signed_data import (
    SignerIdentity,
    assemble_signed_data,
    content_type,
    encode_certificates,
    encode_signed_attributes,
    encode_signer_info,
    message_digest,
    signing_time,
)
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET
from pkiconf.errors import Malformed

_WHAT: Final = "the Authenticode request"
_EXPLICIT_0: Final = CONTEXT | CONSTRUCTED | 0
_SPACE: Final = b" \t\r\n\0"  # some versions of signtool end with a NUL


def parse_authenticode_request(body: bytes) -> bytes:
    """The octets to countersign, out of base64 of a TimeStampRequest. Raises Malformed."""
    try:
        der = base64.b64decode(body.translate(None, _SPACE), validate=True)
    except binascii.Error:
        raise Malformed(f"{_WHAT} is not base64", "Send the base64 of a DER TimeStampRequest") from None
    reader = Reader.over(der, _WHAT)
    kind = oids.decode_oid(reader.take(OBJECT_IDENTIFIER).der, _WHAT)
    if kind != oids.MS_TIMESTAMP_REQUEST:
        raise Malformed(f"{_WHAT} is of type {kind}", f"Send one of type {oids.MS_TIMESTAMP_REQUEST}")
    reader.take_optional(SET)  # attributes, of which none is known
    content = Reader(reader.take(SEQUENCE), _WHAT)
    reader.close()
    if oids.decode_oid(content.take(OBJECT_IDENTIFIER).der, _WHAT) != oids.PKCS7_DATA:
        raise Malformed(f"{_WHAT} holds something other than data", "Send the signature to be countersigned")
    inside = unwrap(content.take(_EXPLICIT_0), _WHAT)
    content.close()
    if inside.tag != OCTET_STRING or not inside.content:
        raise Malformed(f"{_WHAT} holds no octets", "Send the signature to be countersigned")
    return inside.content


@dataclass(frozen=True, slots=True)
class CountersignatureForm:
    """What all countersignatures of one signer have in common, encoded."""

    identity: SignerIdentity
    certificates: bytes

    @classmethod
    def of(cls, identity: SignerIdentity, certificate: bytes, chain: Iterable[bytes]) -> CountersignatureForm:
        return cls(identity, encode_certificates((certificate, *chain)))

    def encode_signed_attributes(self, content: bytes, now: datetime) -> bytes:
        """The octets to sign. The time stands in signingTime, and nowhere else."""
        digest = self.identity.digest.digest(content)
        return encode_signed_attributes((content_type(oids.PKCS7_DATA), signing_time(now), message_digest(digest)))

    def assemble(self, content: bytes, signed_attributes: bytes, signature: bytes) -> bytes:
        """The reply's body, in one line: what signtool makes of line breaks is not known."""
        info = encode_signer_info(self.identity, signed_attributes, signature)
        der = assemble_signed_data(oids.PKCS7_DATA, content, ((self.identity, info),), self.certificates)
        return base64.b64encode(der)
