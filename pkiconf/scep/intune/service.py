"""What a tenant's Intune can be asked and told."""

from __future__ import annotations

import json
import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pkiconf import __version__
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.https import HTTPSAnswer, HTTPSClient
from pkiconf.entropy import Entropy
from pkiconf.errors import Unavailable
from pkiconf.model.intune import (
    MOST_OF_DESCRIPTION,
    HResult,
    IntuneAccess,
    IntuneServiceName,
    IssuedNotice,
    RevocationAnswer,
    RevocationRequest,
    RevocationResult,
    Verdict,
)
from pkiconf.scep.intune.answers import check_uploaded, read_revocation_requests, read_verdict
from pkiconf.scep.intune.call import Call, Line
from pkiconf.scep.intune.discovery import Discovery
from pkiconf.scep.intune.tokens import Tokens

SECONDS: Final = 20.0
"""How long one call may take, with everything that is asked again for it; devices wait for it."""

MOST_REQUESTS: Final = 50
"""How many revocations are fetched at once."""

CALLER: Final = f"pkiconf/{__version__}"

log = logging.getLogger(__name__)


class IntuneService:
    """One access, for all threads of a process. Everything raises Unavailable where there was no usable answer."""

    def __init__(
        self,
        https: HTTPSClient,
        access: IntuneAccess,
        now: Callable[[], datetime],
        entropy: Entropy,
        pause: Callable[[float], None] = time.sleep,
        seconds: float = SECONDS,
    ) -> None:
        tokens = Tokens(https, access, now)
        self.line = Line(https, access, tokens, Discovery(https, access, tokens), now, pause)
        self._entropy = entropy
        self.seconds = seconds
        self._ails = False
        self._trying = threading.Lock()

    def validate(self, transaction_id: str, csr: bytes) -> Verdict:
        """Whether the CSR (DER) is one that Intune sent a device for, and fits its profile.

        While Intune gives no answers, one request at a time finds out how it is, and the others are refused at once:
        they would keep all threads waiting for what comes to the same.
        """
        if not self._ails:
            return self._ask("validateRequest", "request", _named(transaction_id, csr))
        if not self._trying.acquire(blocking=False):
            raise Unavailable("Intune gave no answer lately, and another request is asking how it is")
        try:
            return self._ask("validateRequest", "request", _named(transaction_id, csr))
        finally:
            self._trying.release()

    def tell_issued(self, transaction_id: str, csr: bytes, notice: IssuedNotice) -> Verdict:
        notification = {
            **_named(transaction_id, csr),
            "certificateThumbprint": notice.thumbprint,
            "certificateSerialNumber": notice.serial_number,
            "certificateExpirationDateUtc": notice.ends,
            "issuingCertificateAuthority": notice.issuer_name,
            "caConfiguration": notice.ca_configuration,
            "certificateAuthority": notice.certificate_authority,
        }
        return self._ask("successNotification", "notification", notification)

    def tell_failed(self, transaction_id: str, csr: bytes, result: HResult, description: str) -> Verdict:
        notification = {
            **_named(transaction_id, csr),
            "hResult": result.value,
            "errorDescription": description[:MOST_OF_DESCRIPTION],
        }
        return self._ask("failureNotification", "notification", notification)

    def download_revocations(self) -> tuple[RevocationRequest, ...]:
        """At most MOST_REQUESTS of those that wait, for whichever issuer."""
        wish = {"downloadParameters": {"maxRequests": MOST_REQUESTS, "issuerName": None}}
        place = "CertificateAuthorityRequests/downloadRevocationRequests"
        return read_revocation_requests(self._post(IntuneServiceName.REVOCATION, place, wish), place)

    def upload_revocations(self, answers: Sequence[RevocationAnswer]) -> None:
        results = [
            {
                "requestContext": answer.context,
                "succeeded": answer.result is RevocationResult.NONE,
                "errorCode": answer.result.text,
                "errorMessage": answer.message or None,
            }
            for answer in answers
        ]
        place = "CertificateAuthorityRequests/uploadRevocationResults"
        check_uploaded(self._post(IntuneServiceName.REVOCATION, place, {"results": results}), place)

    def request_id(self) -> str:
        """A new GUID, by which Microsoft finds a call in its own log."""
        return str(UUID(bytes=self._entropy.token(16), version=4))

    def _ask(self, act: str, kind: str, content: Mapping[str, Any]) -> Verdict:
        wish = {kind: {**content, "callerInfo": CALLER}}
        return read_verdict(self._post(IntuneServiceName.VALIDATION, f"ScepActions/{act}", wish), act)

    def _post(self, name: IntuneServiceName, place: str, content: Mapping[str, Any]) -> HTTPSAnswer:
        request_id = self.request_id()
        log.info("Intune: %s, client-request-id %s", place, request_id)
        deadline = Deadline.within(self.seconds)
        call = Call(self.line, name, place, request_id, deadline)
        try:
            answer = call.post(json.dumps(content).encode(), CALLER)
        except (TimeoutError, Unavailable) as ex:
            self._ails = deadline.is_over
            if isinstance(ex, Unavailable) and not deadline.is_over:
                raise
            raise Unavailable(f"Intune gave no answer to {place} within {self.seconds:g} seconds") from None
        self._ails = False
        return answer


def _named(transaction_id: str, csr: bytes) -> dict[str, str]:
    return {"transactionId": transaction_id, "certificateRequest": b64encode(csr).decode()}
