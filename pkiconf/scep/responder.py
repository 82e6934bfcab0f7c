"""PKIOperation (RFC 8894 §4.3): a message in, an answer out, whatever the message says."""

from __future__ import annotations

import logging
from typing import Final

from pkiconf.der.scep import PKIMessage, parse_pki_message
from pkiconf.issuance.parts import Parts
from pkiconf.model.cms import DIGEST_OIDS, Digest
from pkiconf.model.request import Issued
from pkiconf.model.scep import FailInfo, MessageType, PKIStatus, SCEPFailure
from pkiconf.scep.enrolment import Enrolment
from pkiconf.scep.envelope import Opened, encode_answer, open_message, seal_answer
from pkiconf.scep.inquiries import Inquiries
from pkiconf.scep.places import Place
from pkiconf.scep.transactions import Waiting

log = logging.getLogger(__name__)

_ANSWERED: Final = frozenset(MessageType) - {MessageType.CERT_REP}
_LONGEST_TEXT: Final = 500


class Responder:
    def __init__(self, parts: Parts, enrolment: Enrolment, inquiries: Inquiries) -> None:
        self._parts = parts
        self._enrolment = enrolment
        self._inquiries = inquiries

    def answer(self, place: Place, data: bytes, client_address: str) -> bytes:
        """A CertRep, also for what is refused.

        Raises Malformed for what cannot be answered, because no transaction can be read from it; SigningUnavailable
        and Unavailable when nothing can be answered now.
        """
        message = parse_pki_message(data)
        entropy = self._parts.entropy
        digest = _digest_of(place, message)
        recipient = place.presented(self._parts.now())
        try:
            opened = self._open(place, message)
            recipient = opened.recipient
            content = self._content(place, opened, client_address)
        except SCEPFailure as ex:
            self._log(place, message, client_address, ex)
            text = str(ex)[:_LONGEST_TEXT]
            return encode_answer(recipient, message, digest, PKIStatus.FAILURE, entropy, failure=(ex.fail_info, text))
        status = PKIStatus.SUCCESS if content is not None else PKIStatus.PENDING
        return encode_answer(recipient, message, digest, status, entropy, content=content)

    def _open(self, place: Place, message: PKIMessage) -> Opened:
        if message.message_type not in _ANSWERED:
            known = ", ".join(f"{kind.value} {kind.name}" for kind in MessageType if kind in _ANSWERED)
            raise SCEPFailure(
                FailInfo.BAD_REQUEST,
                f"messages of type {message.message_type[:20]!r} are not answered",
                f"Known: {known}",
            )
        return open_message(place, message, self._parts.entropy, self._parts.now())

    def _content(self, place: Place, opened: Opened, client_address: str) -> bytes | None:
        """None while it has to wait. Raises SCEPFailure."""
        entropy = self._parts.entropy
        match MessageType(opened.message.message_type):
            case MessageType.GET_CERT:
                return seal_answer(opened, entropy, (self._inquiries.certificate(place, opened),))
            case MessageType.GET_CRL:
                return seal_answer(opened, entropy, crls=(self._inquiries.crl(place, opened),))
            case MessageType.CERT_POLL:
                outcome = self._inquiries.poll(place, opened)
            case _:
                outcome = self._enrolment.enrol(place, opened, client_address)
        return self._sealed(opened, outcome)

    def _sealed(self, opened: Opened, outcome: Issued | Waiting) -> bytes | None:
        # The certificate alone: some clients take the first that they find for theirs.
        return seal_answer(opened, self._parts.entropy, (outcome.der,)) if isinstance(outcome, Issued) else None

    def _log(self, place: Place, message: PKIMessage, client_address: str, ex: SCEPFailure) -> None:
        """What a stranger chose is shown as Python shows it, so that it forges no line."""
        why = ex.reason or str(ex)
        why = why if why.isprintable() else repr(why)
        log.warning(
            "SCEP %s: transaction %r from %s refused (%s): %s",
            place.address, message.transaction_id, client_address or "an unknown address", ex.fail_info.name, why,
        )  # fmt: skip


def _digest_of(place: Place, message: PKIMessage) -> Digest:
    """The requester's, where it is one that is answered with (§3.2.1.4.1)."""
    found = DIGEST_OIDS.get(message.signer.digest)
    if found is None or found is Digest.SHA224 or (found is Digest.SHA1 and not place.spec.legacy):
        return Digest.SHA256
    return found
