"""Certificates in a bag: the certs-only form of SignedData (RFC 5652 §5, RFC 5272 §4.1), as `.p7c` and `.p7b`.

Not on a hot path, and other people's bags are BER as often as DER, so asn1crypto reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pkiconf.der import oids
from pkiconf.der.pem import der_or_pem
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, encode_sequence, encode_tlv
from pkiconf.errors import Malformed

MAX_BAG_SIZE: Final = 1024 * 1024
PEM_LABELS: Final = ("PKCS7", "CMS", "PKCS #7 SIGNED DATA")

_EXPLICIT_0: Final = CONTEXT | CONSTRUCTED | 0
_VERSION_1: Final = b"\x02\x01\x01"
_EMPTY_SET: Final = b"\x31\x00"
_NO_CONTENT: Final = encode_sequence((oids.encode_oid(oids.PKCS7_DATA),))


def encode_certs_only(certificates: Iterable[bytes]) -> bytes:
    """A DER ContentInfo with these DER certificates, each once. They are a SET OF, which DER orders by octets:
    the order given is not kept, and readers build the chain by names."""
    bag = encode_tlv(_EXPLICIT_0, b"".join(sorted(set(certificates))))
    signed_data = encode_sequence((_VERSION_1, _EMPTY_SET, _NO_CONTENT, bag, _EMPTY_SET))
    return encode_sequence((oids.encode_oid(oids.PKCS7_SIGNED_DATA), encode_tlv(_EXPLICIT_0, signed_data)))


def parse_certs_only(data: bytes) -> list[bytes]:
    """The certificates of a bag of at most 1 MiB, PEM, DER or BER, in the order they lie there; each as its own
    octets, not parsed further. Signatures in the bag are ignored. Raises Malformed."""
    if len(data) > MAX_BAG_SIZE:
        raise Malformed(f"the PKCS#7 bag has {len(data)} octets, more than {MAX_BAG_SIZE}")
    from asn1crypto import cms  # here: loading it takes longer than starting most commands, and few read bags

    try:
        info = cms.ContentInfo.load(der_or_pem(data, PEM_LABELS), strict=True)
        if info["content_type"].native != "signed_data":
            raise Malformed("the PKCS#7 bag holds something other than signed data")
        chosen = list(info["content"]["certificates"])
        kinds = {choice.name for choice in chosen}
        found = [bytes(choice.chosen.dump()) for choice in chosen]
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
        raise Malformed(f"the PKCS#7 bag cannot be read: {type(error).__name__}") from None
    if kinds - {"certificate"}:
        raise Malformed("the PKCS#7 bag holds something other than X.509 certificates")
    return found
