"""SCEP messages in octets (RFC 8894 §3): the envelope with its transaction, and what is said inside.

What clients get wrong without harm is read: values as other kinds of strings, nonces of another length, attributes in
any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pkiconf.der import oids
from pkiconf.der.certificate_head import IssuerAndSerial, parse_issuer_and_serial
from pkiconf.der.cms import SignedData, SignerInfo, parse_signed_data
from pkiconf.der.signed_data import assemble_signed_data
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, OCTET_STRING, SEQUENCE, Element, encode_tlv, read_element
from pkiconf.errors import Malformed
from pkiconf.model.scep import FailInfo, MessageType, PKIStatus

MAX_MESSAGE_SIZE: Final = 128 * 1024
LONGEST_TRANSACTION_ID: Final = 255
LONGEST_NONCE: Final = 64

_PRINTABLE: Final = 0x13
_UTF8: Final = 0x0C
_STRINGS: Final = (_PRINTABLE, _UTF8, 0x14, 0x16)  # TeletexString and IA5String too


@dataclass(frozen=True, slots=True)
class PKIMessage:
    """A message as it came, nothing verified. `transaction` is the value that is sent back, as it came; `message_type`
    is text, which need not be one of MessageType."""

    message_type: str
    transaction_id: str
    transaction: bytes
    sender_nonce: bytes
    signed: SignedData
    signer: SignerInfo

    @property
    def content(self) -> bytes:
        return self.signed.content or b""


def parse_pki_message(data: bytes) -> PKIMessage:
    """Raises Malformed for what cannot even be answered: no signer or several, no message type or transaction."""
    if len(data) > MAX_MESSAGE_SIZE:
        raise Malformed(f"the message has {len(data)} octets, more than {MAX_MESSAGE_SIZE}")
    signed = parse_signed_data(data)
    if len(signed.signers) != 1:
        raise Malformed(f"the message has {len(signed.signers)} signers where one belongs")
    signer = signed.signers[0]
    transaction = _one(signer, oids.SCEP_TRANSACTION_ID, "transactionID")
    transaction_id = _text(transaction, "transactionID")
    if not 0 < len(transaction_id) <= LONGEST_TRANSACTION_ID or "\0" in transaction_id:
        raise Malformed(f"the transactionID is empty, or has more than {LONGEST_TRANSACTION_ID} characters")
    return PKIMessage(
        message_type=_text(_one(signer, oids.SCEP_MESSAGE_TYPE, "messageType"), "messageType").strip(),
        transaction_id=transaction_id,
        transaction=transaction.der,
        sender_nonce=_nonce(signer),
        signed=signed,
        signer=signer,
    )


def _one(signer: SignerInfo, oid: str, what: str) -> Element:
    values = signer.attributes.get(oid, ())
    if len(values) != 1:
        raise Malformed(f"the message has {len(values) or 'no'} {what} where one belongs")
    return values[0]


def _text(element: Element, what: str) -> str:
    if element.tag not in _STRINGS:
        raise Malformed(f"the {what} of the message is not text")
    try:
        return element.content.decode()
    except UnicodeDecodeError:
        raise Malformed(f"the {what} of the message is not text") from None


def _nonce(signer: SignerInfo) -> bytes:
    nonce = _one(signer, oids.SCEP_SENDER_NONCE, "senderNonce")
    if nonce.tag != OCTET_STRING or not 0 < len(nonce.content) <= LONGEST_NONCE:
        raise Malformed(f"the senderNonce is not 1 to {LONGEST_NONCE} octets")
    return nonce.content


def parse_get(content: bytes) -> IssuerAndSerial:
    """What GetCert and GetCRL ask about (§3.3.4, §3.3.5). Raises Malformed."""
    what = "the question"
    return parse_issuer_and_serial(read_element(content, what, SEQUENCE), what)


def encode_bag(certificates: Iterable[bytes]) -> bytes:
    """Certificates for GetCACert (§4.2.1), in the order given, which DER would not keep: clients that do not look what
    a certificate is for encrypt to the first."""
    return assemble_signed_data(
        oids.PKCS7_DATA, None, (), encode_tlv(CONTEXT | CONSTRUCTED, b"".join(dict.fromkeys(certificates)))
    )


def cert_rep_attributes(
    message: PKIMessage, status: PKIStatus, nonce: bytes, failure: tuple[FailInfo, str] | None = None
) -> tuple[tuple[str, bytes], ...]:
    """The attributes of an answer, type and DER value, but for those that CMS itself asks for (§3.2.1)."""
    made = [
        (oids.SCEP_MESSAGE_TYPE, encode_tlv(_PRINTABLE, MessageType.CERT_REP.encode())),
        (oids.SCEP_PKI_STATUS, encode_tlv(_PRINTABLE, status.encode())),
        (oids.SCEP_SENDER_NONCE, encode_tlv(OCTET_STRING, nonce)),
        (oids.SCEP_RECIPIENT_NONCE, encode_tlv(OCTET_STRING, message.sender_nonce)),
        (oids.SCEP_TRANSACTION_ID, message.transaction),
    ]
    if failure is not None:
        made.append((oids.SCEP_FAIL_INFO, encode_tlv(_PRINTABLE, failure[0].encode())))
        made.append((oids.SCEP_FAIL_INFO_TEXT, encode_tlv(_UTF8, failure[1].encode())))
    return tuple(made)
