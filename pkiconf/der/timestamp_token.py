"""Timestamp tokens (RFC 3161 §2.4.2, RFC 5816).

What a token repeats from its request is copied as octets; what is the same in all tokens of an authority is encoded
once, in a `TokenForm`. So one token costs a hash, a signature and a few joins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.hazmat import asn1

from pkiconf.clock import from_epoch
from pkiconf.der import oids
from pkiconf.der.certificate import parse_certificate
from pkiconf.der.frames import pieces, wrap
from pkiconf.der.signed_data import (
    DigestAlgorithm,
    SignerIdentity,
    content_type,
    encode_attribute,
    encode_certificates,
    encode_signed_attributes,
    frame_signed_data,
    message_digest,
)
from pkiconf.der.times import GENERALIZED_TIME, encode_generalized_time
from pkiconf.der.timestamp import TimestampRequest
from pkiconf.der.tlv import CONSTRUCTED, CONTEXT, INTEGER, OCTET_STRING, SEQUENCE, encode_sequence, encode_tlv
from pkiconf.model.timestamps import Accuracy

_VERSION_1: Final = b"\x02\x01\x01"
_GRANTED: Final = encode_sequence((b"\x02\x01\x00",))
_MICROSECONDS: Final = 1_000_000
_FRAMES: Final = 256  # of some 200 octets each
_CUT: Final = {0: 1_000_000, 3: 1_000, 6: 1}  # microseconds that so many digits may leave out


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What all tokens of one signer and one policy have in common, encoded. `fraction`: how many digits a genTime has
    behind the point."""

    identity: SignerIdentity
    head: bytes  # version and policy
    tail: bytes  # accuracy and ordering
    fraction: int
    attributes: tuple[bytes, bytes]  # the signed ones, before and behind the digest of the content
    certificates: bytes
    _frames: dict[tuple[int, int, bool], tuple[bytes, ...]] = field(default_factory=dict, compare=False, repr=False)

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
            attributes=_around_the_digest(identity.digest, certificate),
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
        before, behind = self.attributes
        return before + self.identity.digest.digest(tst_info) + behind

    def assemble_response(
        self, tst_info: bytes, signed_attributes: bytes, signature: bytes, *, cert_req: bool
    ) -> bytes:
        """A TimeStampResp that grants the token. Certificates are in it only when they were asked for (§2.4.1)."""
        certificates = self.certificates if cert_req else b""
        attributes = signed_attributes[1:]
        sizes = (len(tst_info), len(signature), cert_req)
        frame = self._frames.get(sizes) or self._frame(
            sizes, content=len(tst_info), certificates=len(certificates), attributes=len(attributes),
            signature=len(signature),
        )  # fmt: skip
        first, second, third, fourth, _ = frame
        return b"".join((first, tst_info, second, certificates, third, attributes, fourth, signature))

    def _frame(self, key: tuple[int, int, bool], **sizes: int) -> tuple[bytes, ...]:
        made = pieces(wrap(SEQUENCE, _GRANTED, *frame_signed_data(oids.TST_INFO, self.identity, **sizes)))
        if len(self._frames) >= _FRAMES:  # clients choose how long a nonce is
            self._frames.clear()
        self._frames[key] = made
        return made


def _around_the_digest(digest: DigestAlgorithm, certificate: bytes) -> tuple[bytes, bytes]:
    """Where an attribute stands in the SET depends on its first octets, and those say its length and its type."""
    blank = digest.digest(b"")
    others = (content_type(oids.TST_INFO), _signing_certificate(certificate))
    before, _, behind = encode_signed_attributes((*others, message_digest(blank))).partition(blank)
    return before, behind


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
