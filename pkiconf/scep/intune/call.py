"""One call to a service of Intune, within one deadline: what may be asked again is, everything else is a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin, urlsplit

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.https import HTTPSAnswer, HTTPSClient, Redirected, Unreached
from pkiconf.errors import Unavailable
from pkiconf.model.intune import IntuneAccess, IntuneServiceName
from pkiconf.scep.intune.answers import OK, complaint
from pkiconf.scep.intune.discovery import FORBIDDEN, UNAUTHORIZED, Discovery
from pkiconf.scep.intune.tokens import Resource, Tokens

_API_VERSIONS: Final = {IntuneServiceName.VALIDATION: "2018-02-20", IntuneServiceName.REVOCATION: "5019-05-05"}
_GONE: Final = (404, 410)
_THROTTLED: Final = (429, 503)
_KEEPS_METHOD: Final = (307, 308)
_MOST_REDIRECTS: Final = 2
_MOST_PAUSES: Final = 2
_PAUSE: Final = 1.0
"""Seconds to wait for a service that has too much to do and does not say for how long."""


class NotAnswered(Unavailable):
    """Intune answered with a `status` that decides nothing."""

    def __init__(self, status: int, detail: str, hint: str = "") -> None:
        super().__init__(detail, hint)
        self.status = status


@dataclass(frozen=True)
class Line:
    """What every call of one access goes through."""

    https: HTTPSClient
    access: IntuneAccess
    tokens: Tokens
    discovery: Discovery
    now: Callable[[], datetime]
    pause: Callable[[float], None]


class Call:
    """`post` is done once. It keeps count of the second chances: a service that moved or broke off is looked up once, a
    token that is not taken is replaced once, and a service that is busy is waited for twice."""

    def __init__(self, line: Line, name: IntuneServiceName, place: str, request_id: str, deadline: Deadline) -> None:
        self._line, self._name, self._place = line, name, place
        self._request_id, self._deadline = request_id, deadline
        self._has_looked = self._has_refreshed = False
        self._pauses = 0

    def post(self, body: bytes, caller: str) -> HTTPSAnswer:
        """An answer with status 200. Raises Unavailable, TimeoutError."""
        while True:
            base = self._line.discovery.find(self._name, self._request_id, self._deadline)
            token = self._line.tokens.get(Resource.INTUNE, self._deadline)
            headers = {
                "Authorization": f"Bearer {token.value}",
                "Content-Type": "application/json",
                "api-version": _API_VERSIONS[self._name],
                "client-request-id": self._request_id,
                "User-Agent": caller,
            }
            try:
                answer = self._send(f"{base}/{self._place}", body, headers)
            except Unreached as failure:
                self._look_again(failure)
                continue
            except Redirected as failure:
                self._look_again(failure, unless_at=base)
                continue
            if answer.status == OK:
                return answer
            if answer.status in (UNAUTHORIZED, FORBIDDEN):  # what was granted meanwhile stands in the next one
                self._line.tokens.forget(token)
            self._decide(answer, base)

    def _decide(self, answer: HTTPSAnswer, base: str) -> None:
        """Returns if it may be asked again; raises Unavailable if not."""
        failure = self._failure(answer)
        if answer.status == UNAUTHORIZED and not self._has_refreshed:
            self._has_refreshed = True
        elif answer.status in _THROTTLED and self._pauses < _MOST_PAUSES:
            self._pauses += 1
            self._wait(answer, failure)
        elif answer.status in _GONE:
            self._look_again(failure, unless_at=base)
        else:
            self._line.discovery.forget()  # whoever comes next looks where it is by then
            raise failure

    def _look_again(self, failure: Unavailable, *, unless_at: str = "") -> None:
        """Ask Graph where the service is by now. Raises `failure` if that was done before, or led there again."""
        self._line.discovery.forget()
        if self._has_looked:
            raise failure
        self._has_looked = True
        if self._line.discovery.find(self._name, self._request_id, self._deadline) == unless_at:
            raise failure

    def _send(self, url: str, body: bytes, headers: dict[str, str]) -> HTTPSAnswer:
        """Follows what keeps the method and stays within Intune. Raises Redirected for every other redirect."""
        for _ in range(_MOST_REDIRECTS):
            try:
                return self._request(url, body, headers)
            except Redirected as ex:
                goal = find_goal(url, ex.location, self._line.access.resource_url)
                if ex.status not in _KEEPS_METHOD or not goal:
                    raise
                url = goal
        return self._request(url, body, headers)

    def _request(self, url: str, body: bytes, headers: dict[str, str]) -> HTTPSAnswer:
        return self._line.https.request("POST", url, body=body, headers=headers, seconds=self._deadline.left())

    def _wait(self, answer: HTTPSAnswer, failure: Unavailable) -> None:
        """As long as the service wishes. Raises `failure` if that is longer than there is time for."""
        seconds = retry_after(answer.headers.get("retry-after", ""), self._line.now())
        if seconds >= self._deadline.left():
            raise failure
        self._line.pause(seconds)

    def _failure(self, answer: HTTPSAnswer) -> NotAnswered:
        hint = "Grant the Intune application permission scep_challenge_provider, with admin consent"
        return NotAnswered(
            answer.status,
            f"Intune answered {answer.status} to {self._place}: {complaint(answer)}",
            hint if answer.status == FORBIDDEN else "",
        )


def find_goal(url: str, location: str, resource_url: str) -> str:
    """Where a redirect leads, if a token that was sent to `url` may go there too: to the same host and port, or to a
    host of the domain that Intune's resource is in. Empty if not."""
    try:
        goal = urljoin(url, location)
        was, will, domain = urlsplit(url), urlsplit(goal), (urlsplit(resource_url).hostname or "").partition(".")[2]
        places = (was.hostname, was.port), (will.hostname, will.port)
    except ValueError:
        return ""
    host, port = places[1]
    if will.scheme != "https" or will.username is not None or not host:
        return ""
    is_intunes = "." in domain and host.endswith(f".{domain}") and port in (None, 443)
    return goal if places[0] == places[1] or is_intunes else ""


def retry_after(text: str, now: datetime) -> float:
    """Seconds, of either form of the header (RFC 9110 §10.2.3)."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (ValueError, TypeError):
        return _PAUSE
