"""Problems → HTTP (RFC 8555 §6.7, RFC 7807): one table of statuses, and what errors by meaning become."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import falcon

from pkiconf.endpoints.acme.answers import add_link, problem_record
from pkiconf.endpoints.acme.jws import SIGNATURE_ALGORITHMS
from pkiconf.endpoints.paths import loggable_path
from pkiconf.endpoints.statuses import RETRY_AFTER, status_of
from pkiconf.endpoints.wsgi import Response
from pkiconf.errors import PkiconfError
from pkiconf.model.acme import ACMEProblem, Problem, ProblemType
from pkiconf.model.acme_urls import PREFIX, URLs

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_STATUS: Final[Mapping[ProblemType, int]] = MappingProxyType(
    {
        ProblemType.ALREADY_REPLACED: 409,
        ProblemType.CAA: 403,
        ProblemType.EXTERNAL_ACCOUNT_REQUIRED: 403,
        ProblemType.ORDER_NOT_READY: 403,
        ProblemType.RATE_LIMITED: 429,
        ProblemType.REJECTED_IDENTIFIER: 403,
        ProblemType.SERVER_INTERNAL: 500,
        ProblemType.UNAUTHORIZED: 403,
        ProblemType.USER_ACTION_REQUIRED: 403,
    }
)
"""Every other type is 400."""


def concerns(req: falcon.Request) -> bool:
    """Whether it is an ACME client that has to understand the answer."""
    return req.path.startswith(PREFIX + "/") or req.path == PREFIX


def answer_error(req: falcon.Request, resp: Response, error: Exception) -> None:
    """Send what an error means to an ACME client; what is the machine's business is logged and not told."""
    match error:
        case ACMEProblem():
            _answer_problem(req, resp, error)
        case falcon.HTTPError():
            for name, value in dict(error.headers or {}).items():
                resp.set_header(name, value)
            status = falcon.http_status_to_code(error.status)
            kind = ProblemType.RATE_LIMITED if status == 429 else ProblemType.MALFORMED
            _send(resp, status, Problem(kind, _words(req, error, status)))
        case PkiconfError():
            _answer_kind(req, resp, error)
        case _:
            log.error("%s %r failed", req.method, loggable_path(req), exc_info=error)
            _send(resp, 500, Problem(ProblemType.SERVER_INTERNAL, "internal error"))


def _answer_problem(req: falcon.Request, resp: Response, error: ACMEProblem) -> None:
    status = error.status or _STATUS.get(error.problem.type, 400)
    retry_after = error.retry_after
    if retry_after is None and status == 503:
        retry_after = RETRY_AFTER
    if retry_after is not None:
        resp.set_header("Retry-After", str(retry_after))
    urls: URLs | None = getattr(req.context, "urls", None)
    if error.location is not None and urls is not None:
        resp.set_header("Location", urls.account(error.location))
    for relation, url in error.links:
        add_link(resp, url, relation)
    extra = dict(error.links).get("terms-of-service")
    _send(resp, status, error.problem, instance=extra)


def _answer_kind(req: falcon.Request, resp: Response, error: PkiconfError) -> None:
    status = status_of(error)
    if status < 500:
        _send(resp, status, Problem(ProblemType.UNAUTHORIZED if status == 403 else ProblemType.MALFORMED, str(error)))
        return
    log.error("%s %r: %s", req.method, loggable_path(req), error)
    if status == 503:
        resp.set_header("Retry-After", str(RETRY_AFTER))
    told = "not available now: try again later" if status == 503 else "internal error"
    _send(resp, status, Problem(ProblemType.SERVER_INTERNAL, told))


def _words(req: falcon.Request, error: falcon.HTTPError, status: int) -> str:
    if status == 405:
        return f"{req.method} is not understood here: every resource but the directory and new-nonce is asked by POST"
    if status == 404:
        return "there is no such resource: begin with the directory"
    return str(error.description or error.title or "the request cannot be understood")


def _send(resp: Response, status: int, problem: Problem, *, instance: str | None = None) -> None:
    body: dict[str, Any] = {**problem_record(problem), "status": status}
    if problem.type is ProblemType.BAD_SIGNATURE_ALGORITHM:
        body["algorithms"] = list(SIGNATURE_ALGORITHMS)
    if instance is not None:
        body["instance"] = instance
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = MEDIA_TYPE
    resp.set_header("Cache-Control", "no-store")
    resp.data = json.dumps(body, separators=(",", ":"), ensure_ascii=True).encode()
