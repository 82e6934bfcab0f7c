"""What a message asks for, and who signed it: before anything is proved (RFC 8894 §3.3.1)."""

from __future__ import annotations

from typing import Final

from pkiconf.der.csr import parse_csr_with_challenge
from pkiconf.der.keys import is_same_key
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.request import CertificateRequest
from pkiconf.model.scep import FailInfo, NotProved, SCEPFailure
from pkiconf.scep.envelope import Opened
from pkiconf.scep.places import Place
from pkiconf.scep.renewals import Presented
from pkiconf.scep.transactions import Question
from pkiconf.store.scep_transactions import TransactionRow

UNREADABLE: Final = (
    "the message cannot be decrypted, or the request in it cannot be read, or is not signed with its own key by an "
    "algorithm that is accepted"
)
"""One text for all that goes wrong before the request's own signature was verified: what lies inside is told to nobody
who does not know it (RFC 3218 §2.3)."""


def read_request(place: Place, opened: Opened) -> tuple[CertificateRequest, str | None]:
    """The request with its challenge password. Raises SCEPFailure, in the same words for whatever is wrong."""
    try:
        return parse_csr_with_challenge(opened.content, sha1=place.spec.legacy)
    except (Malformed, Unverified, UnsupportedAlgorithm) as ex:
        raise SCEPFailure(FailInfo.BAD_MESSAGE_CHECK, UNREADABLE, reason=str(ex)) from None


def check_signer(opened: Opened, wanted: CertificateRequest, presented: Presented | None, *, is_renewal: bool) -> None:
    """Raise SCEPFailure for a message that is signed by neither the key it asks for nor a certificate of ours."""
    if presented is not None:
        return
    if is_renewal:
        raise NotProved("a renewal is signed by a certificate that was not issued here")
    if not is_same_key(wanted.spki, opened.signer.spki):
        raise SCEPFailure(
            FailInfo.BAD_MESSAGE_CHECK,
            "the message is signed by another key than the one to be certified",
            "Sign it with the new key, or, to renew, with the certificate that was issued here",
        )


def follows(row: TransactionRow, question: Question, presented: Presented | None) -> bool:
    """Whether a renewal begins another transaction under the id of an earlier one: clients that make the id from their
    key, and keep the key, have no other. It is theirs alone: the certificate that renews came of that transaction, or
    its key began it."""
    if presented is None:
        return False
    is_another = row.csr_sha256 != question.csr_sha256 and row.signer_spki_sha256 == question.signer_sha256
    return row.serial == presented.row.serial or is_another
