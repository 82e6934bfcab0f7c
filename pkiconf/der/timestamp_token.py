"""Timestamp tokens (RFC 3161 §2.4.2, RFC 5816).

What a token repeats from its request is copied as octets; what is the same in all tokens of an authority is encoded
once, in a `TokenForm`. So one token costs a hash, a signature and a few joins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.clock import from_epoch
from pkiconf.der import oids
from pkiconf.der.certificate import parse_certificate
from pkiconf.der.signed_data import (
    SignerIdentity,
    assemble_signed_data,
    content_type,
    encode_attribute,
    encode_certificates,
    encode_signed_attributes,
    encode_signer_info,
    message_digest,
)
from pkiconf.der.times import GENERALIZED_TIME, encode_generalized_time
from pkiconf.der.timestamp import TimestampRequest
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, INTEGER, OCTET_STRING, encode_sequence, encode_tlv
from pkiconf.model.timestamps import Accuracy

_VERSION_1: Final = b"\x02\x01\x01"
_GRANTED: Final = encode_sequence((b"\x02\x01\x00",))
_MICROSECONDS: Final = 1_000_000
_CUT: Final = {0: 1_000_000, 3: 1_000, 6: 1}  # microseconds that so many digits may leave out


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What all tokens of one signer and one policy have in common, encoded. `fraction`: how many digits a genTime has
    behind the point."""

    identity: SignerIdentity
    head: bytes  # version and policy
    tail: bytes  # accuracy and ordering
    fraction: int
    attributes: tuple[bytes, ...]
    certificates: bytes

    @classmethod
    def of(
        cls,
        identity: SignerIdentity,
        policy: str,
        accuracy: Accuracy | None,
        ordering: bool,
        certificate: bytes,
        chain: Iterable[bytes],
    ) -> TokenForm:
        """`certificate` is the signer's; `chain` what a client needs besides. Raises Malformed."""
        return cls(
            identity=identity,
            head=_VERSION_1 + oids.encode_oid(policy),
            tail=(_encode_accuracy(accuracy) if accuracy else b"") + (b"\x01\x01\xff" if ordering else b""),
            fraction=_digits(accuracy, ordering),
            attributes=(content_type(oids.TST_INFO), _signing_certificate(certificate)),
            certificates=encode_certificates((certificate, *chain)),
        )

    def encode_tst_info(self, request: TimestampRequest, serial: bytes, moment: int) -> bytes:
        """`serial` is positive, its octets as an INTEGER has them; `moment` is in microseconds since 1970."""
        # The field `tsa` is left out: it would only repeat what signingCertificateV2 says (RFC 5816 §2.2.1).
        return encode_sequence(
            (
                self.head,
                request.imprint,
                encode_tlv(INTEGER, serial),
                encode_gen_time(moment, self.fraction),
                self.tail,
                request.nonce,
            )
        )

    def encode_signed_attributes(self, tst_info: bytes) -> bytes:
        """The octets to sign."""
        return encode_signed_attributes((*self.attributes, message_digest(self.identity.digest.digest(tst_info))))

    def assemble_response(
        self, tst_info: bytes, signed_attributes: bytes, signature: bytes, *, cert_req: bool
    ) -> bytes:
        """A TimeStampResp that grants the token. Certificates are in it only when they were asked for (§2.4.1)."""
        info = encode_signer_info(self.identity, signed_attributes, signature)
        certificates = self.certificates if cert_req else b""
        token = assemble_signed_data(oids.TST_INFO, tst_info, ((self.identity, info),), certificates)
        return encode_sequence((_GRANTED, token))


def _encode_accuracy(accuracy: Accuracy) -> bytes:
    """Accuracy: what is 0 is left out, and millis and micros are below 1000 (RFC 3161 §2.4.2)."""
    seconds, rest = divmod(accuracy.microseconds, _MICROSECONDS)
    millis, micros = divmod(rest, 1000)
    return encode_sequence(
        (
            asn1.encode_der(seconds) if seconds else b"",
            encode_tlv(CONTEXT | 0, asn1.encode_der(millis)[2:]) if millis else b"",
            encode_tlv(CONTEXT | 1, asn1.encode_der(micros)[2:]) if micros else b"",
        )
    )


def _digits(accuracy: Accuracy | None, ordering: bool) -> int:
    """Whole seconds are preferred unless more is needed (RFC 3161 §2.4.2): what is cut off must be far less than the
    accuracy, which is there for the clock."""
    if ordering:
        return 6
    if accuracy is None:
        return 0
    return 3 if accuracy.microseconds % _MICROSECONDS == 0 else 6


def left_for_the_clock(accuracy: Accuracy, ordering: bool) -> int:
    """How many microseconds the clock may be off, at least 1: a genTime that is cut is late by less than its last
    digit, and that is part of the accuracy too."""
    return max(1, accuracy.microseconds - _CUT[_digits(accuracy, ordering)])


def _signing_certificate(certificate: bytes) -> bytes:
    """signingCertificateV2 with the signer alone (RFC 5035 §3); the hash is SHA-256, its default, and left unsaid."""
    parsed = parse_certificate(certificate)
    names = encode_sequence((encode_tlv(CONTEXT | CONSTRUCTED | 4, parsed.issuer),))
    issuer_serial = encode_sequence((names, asn1.encode_der(parsed.serial_number)))
    hashed = encode_tlv(OCTET_STRING, hashlib.sha256(certificate).digest())
    ess_cert_id = encode_sequence((hashed, issuer_serial))
    value = encode_sequence((encode_sequence((ess_cert_id,)),))
    return encode_attribute(oids.SIGNING_CERTIFICATE_V2, value)


def encode_gen_time(moment: int, fraction: int = 0) -> bytes:
    """GeneralizedTime of microseconds since 1970: a fraction has no zeros at its end, and no point without digits
    (RFC 3161 §2.4.2). It is cut, not rounded: a token never says a time that has not come."""
    seconds, micros = divmod(moment, _MICROSECONDS)
    whole = _whole_second(seconds)
    digits = b"%06d" % micros
    behind = digits[:fraction].rstrip(b"0")
    return encode_tlv(GENERALIZED_TIME, b"%b.%bZ" % (whole[2:-1], behind)) if behind else whole


@lru_cache(maxsize=16)
def _whole_second(seconds: int) -> bytes:
    return encode_generalized_time(from_epoch(seconds))
