"""One answer for one transaction (RFC 8894 §2.8): what became of it, and whether its id may be used again.

Many clients make the id from their key, so they come with the same one years later, and a client that lost an answer
comes with it a second later. The second gets what the first got; the first begins anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.issuance.intents import Intents
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateID, CertificateStatus
from pkiconf.model.request import Issued, Pending, Rejected, RequestState
from pkiconf.model.scep import FailInfo, SCEPFailure
from pkiconf.scep.places import Place
from pkiconf.store import scep_transactions
from pkiconf.store.scep_transactions import TransactionRow

ASKED_AGAIN: Final = timedelta(days=1)
"""For so long the same request under the same id is the same transaction, once it has ended."""

_ENDED: Final = (CertificateStatus.REVOKED, CertificateStatus.ABANDONED)
_REFUSED: Final = (RequestState.DECLINED, RequestState.REJECTED, RequestState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not decided, or not signed yet: ask again."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request under an id: the digests of the CSR and of the key that signed the message."""

    transaction_id: str
    csr_sha256: bytes
    signer_sha256: bytes

    @classmethod
    def of(cls, transaction_id: str, csr: bytes, signer_spki: bytes) -> Question:
        return cls(transaction_id, hashlib.sha256(csr).digest(), hashlib.sha256(signer_spki).digest())


class Transactions:
    def __init__(self, parts: Parts, intents: Intents) -> None:
        self._parts = parts
        self._intents = intents

    def find(self, place: Place, transaction_id: str) -> TransactionRow | None:
        return self._parts.db.look(lambda c: scep_transactions.find(c, place.template_id, transaction_id))

    def find_and_tries(
        self, place: Place, transaction_id: str, counted: tuple[str, int]
    ) -> tuple[int, TransactionRow | None]:
        """Also how often the client has been wrong, `counted` by `Tries`."""
        return self._parts.db.look(
            lambda c: scep_transactions.find_and_tries(c, place.template_id, transaction_id, *counted)
        )

    def is_over(self, row: TransactionRow) -> bool:
        """Whether the id may name another transaction."""
        asked_again = to_epoch(self._parts.now() - ASKED_AGAIN)
        if row.status in _ENDED:
            return True
        if row.status is not None and row.reserved_at is not None:
            return row.reserved_at <= asked_again
        return row.request_state in _REFUSED and row.created_at <= asked_again

    def outcome(self, row: TransactionRow) -> Issued | Waiting:
        """Raises SCEPFailure for one that was refused."""
        if row.serial is None or row.issuer_id is None:
            if row.request_state in _REFUSED:
                why = f": {row.request_reason}" if row.request_reason else ""
                raise SCEPFailure(FailInfo.BAD_REQUEST, f"the request was {row.request_state}{why}")
            return Waiting()
        match self._intents.resume(CertificateID(row.issuer_id, int.from_bytes(row.serial))):
            case Issued() as issued:
                return issued
            case Pending():
                return Waiting()
            case Rejected(reason):
                raise SCEPFailure(FailInfo.BAD_REQUEST, f"no certificate was issued: {reason}")


def is_same(row: TransactionRow, question: Question) -> bool:
    return (row.csr_sha256, row.signer_spki_sha256) == (question.csr_sha256, question.signer_sha256)


def check_same(row: TransactionRow, question: Question) -> None:
    """Raise SCEPFailure unless it is what was asked before under this id."""
    if not is_same(row, question):
        raise SCEPFailure(
            FailInfo.BAD_REQUEST,
            "this transactionID was used for another request",
            "Use one id for one request; where it is made from the key, make another key",
        )
