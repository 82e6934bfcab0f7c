"""Answers to those who want a time attested (RFC 3161), and to those who ask as signtool once did."""

from __future__ import annotations

import hashlib
import logging
from typing import Final
from uuid import UUID

from pkiconf.authority.service_certificates import ServiceCertificate, ServiceCertificates
from pkiconf.clock import from_epoch
from pkiconf.der.authenticode import parse_authenticode_request
from pkiconf.der.timestamp import Rejected, TimestampRequest, encode_rejection, parse_timestamp_request
from pkiconf.der.verify import verify_signature
from pkiconf.errors import NotFound, PkiconfError, Refused, WouldWait
from pkiconf.issuance.parts import Parts
from pkiconf.model.timestamps import FailureInfo
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.timestamps.clock_watch import ClockUnsure, ClockWatch
from pkiconf.timestamps.forms import Form, Forms
from pkiconf.timestamps.ledger import Ledger
from pkiconf.timestamps.recording import Stamped

RFC3161: Final = "rfc3161"
AUTHENTICODE: Final = "authenticode"

log = logging.getLogger(__name__)

_NO_ORDER: Final = UUID(int=0)  # local service keys ignore an order's id
_TRY_AGAIN: Final = "no timestamp can be made now; try again later"


class Timestamps:
    def __init__(self, parts: Parts, services: ServiceCertificates, watch: ClockWatch) -> None:
        self._parts = parts
        self._forms = Forms(parts, services)
        self._watch = watch
        self._ledger = Ledger(parts.db, parts.entropy)

    def answer(self, slug: str, request: bytes) -> tuple[bytes, FailureInfo | None]:
        """A TimeStampResp, DER, and the failure that it tells of. Raises NotFound where no timestamps are served, and
        nothing else: what gets no token is told so in a response (RFC 3161 §2.4.2)."""
        return self._answered(slug, request, wait=True)

    def at_once(self, slug: str, request: bytes) -> tuple[bytes, FailureInfo | None] | None:
        """`answer`, where nothing has to be waited for: the database is a file, the key is quick, and the token only
        counted. None where no timestamps are served, too."""
        if self._parts.db.dialect != "sqlite":
            return None
        try:
            return self._answered(slug, request, wait=False)
        except (WouldWait, NotFound):
            return None

    def _answered(self, slug: str, request: bytes, *, wait: bool) -> tuple[bytes, FailureInfo | None]:
        try:
            return self._granted(slug, request, wait=wait), None
        except (NotFound, WouldWait):
            raise
        except Rejected as ex:
            return encode_rejection(ex.failure, str(ex)), ex.failure
        except ClockUnsure:
            return _unavailable(FailureInfo.TIME_NOT_AVAILABLE)
        except PkiconfError as ex:
            log.error("timestamps of %r: %s", slug[:80], ex)
            return _unavailable(FailureInfo.SYSTEM_FAILURE)
        except Exception:
            log.exception("timestamps of %r: internal error", slug[:80])
            return _unavailable(FailureInfo.SYSTEM_FAILURE)

    def _granted(self, slug: str, body: bytes, *, wait: bool) -> bytes:
        form = self._forms.get(slug, wait=wait)
        request = parse_timestamp_request(body)
        token = form.policies.get(request.policy)
        if token is None:
            raise Rejected(FailureInfo.UNACCEPTED_POLICY, "the policy is not served here", "Ask without a policy")
        _check_digest(form, request)
        moment = self._watch.moment(form.clock_error, wait=wait)
        entry = self._ledger.enter(form, Stamped(RFC3161, request.digest, request.hashed), moment, wait=wait)
        tst_info = token.encode_tst_info(request, entry.serial, entry.moment)
        attributes = token.encode_signed_attributes(tst_info)
        signature = self._sign(form.signer, attributes)
        return token.assemble_response(tst_info, attributes, signature, cert_req=request.cert_req)

    def countersign(self, slug: str, body: bytes) -> bytes:
        """The reply to an Authenticode request, base64. It has no form for failures: raises NotFound, Refused where
        the older protocol is not served, Malformed, ClockUnsure, SigningUnavailable, Unavailable."""
        form = self._forms.get(slug)
        if not form.spec.authenticode:
            raise Refused("the older protocol is not served here", "Use RFC 3161: signtool /tr, osslsigncode -ts")
        content = parse_authenticode_request(body)
        hashed = Stamped(AUTHENTICODE, "sha256", hashlib.sha256(content).digest())
        entry = self._ledger.enter(form, hashed, self._watch.moment(form.clock_error))
        reply = form.countersignature
        attributes = reply.encode_signed_attributes(content, from_epoch(entry.moment // 1_000_000))
        return reply.assemble(content, attributes, self._sign(form.signer, attributes))

    def close(self) -> None:
        """When no more requests come."""
        self._ledger.close()

    def _sign(self, signer: ServiceCertificate, attributes: bytes) -> bytes:
        order = SigningOrder(_NO_ORDER, Kind.TIMESTAMP, attributes, signer.algorithm, signer.not_after)
        signature = signer.signer.sign(order)
        verify_signature(signer.spki, signer.algorithm, attributes, signature)
        return signature


def _check_digest(form: Form, request: TimestampRequest) -> None:
    if request.digest not in form.digests:
        raise Rejected(
            FailureInfo.BAD_ALG,
            f"{request.digest} is not accepted here",
            f"Send a hash by {', '.join(form.spec.digests)}",
        )


def _unavailable(failure: FailureInfo) -> tuple[bytes, FailureInfo]:
    """Why the machine cannot serve is its operator's business."""
    return encode_rejection(failure, _TRY_AGAIN), failure
