"""Logs of certificate transparency, asked side by side: RFC 6962 §4.2, and the same method of static-ct logs."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, Protocol

from pkiconf.der.transparency import LOG_ID_SIZE, SCT
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.https import HTTPSAnswer, HTTPSClient
from pkiconf.errors import PkiconfError, Refused, Unavailable, Unverified
from pkiconf.spec.transparency import LogSpec

LARGEST_ANSWER: Final = 1 << 18
WORKERS: Final = 16
"""How many certificates one log may be shown at once; more wait, for no longer than their askers do."""

_ATTEMPTS: Final = 3
_PAUSE: Final = 0.2  # seconds before the second attempt; each further one waits four times as long
_LONGEST_COMPLAINT: Final = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gathered:
    """`failures` says for a log's URL why it gave nothing that counts; `silent` are the URLs of those that did not
    answer at all."""

    scts: tuple[SCT, ...]
    failures: Mapping[str, str]
    silent: frozenset[str]


class Logs(Protocol):
    """What `HTTPSLogs` does; tests hand in their own."""

    def gather(
        self,
        logs: Sequence[LogSpec],
        chain: Sequence[bytes],
        check: Callable[[LogSpec, SCT], None],
        enough: int,
        seconds: float,
    ) -> Gathered:
        """Show a precertificate with the chain above it (DER) to all logs at once.

        Ends as soon as `enough` promises have come that `check` accepts (it raises PkiconfError for one that does not
        count), when every log has answered, or after so many seconds.
        """
        ...


@dataclass
class _Question:
    """What one log is asked for one certificate; nobody listens any more once `over` is."""

    log: LogSpec
    body: bytes
    check: Callable[[LogSpec, SCT], None]
    deadline: Deadline
    answers: SimpleQueue[tuple[LogSpec, SCT | PkiconfError]]
    over: bool = False


@dataclass
class HTTPSLogs:
    https: HTTPSClient
    sleep: Callable[[float], None] = time.sleep
    _lanes: dict[str, _Lane] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def gather(
        self,
        logs: Sequence[LogSpec],
        chain: Sequence[bytes],
        check: Callable[[LogSpec, SCT], None],
        enough: int,
        seconds: float,
    ) -> Gathered:
        deadline = Deadline.within(seconds)
        body = json.dumps({"chain": [base64.b64encode(der).decode() for der in chain]}).encode()
        answers: SimpleQueue[tuple[LogSpec, SCT | PkiconfError]] = SimpleQueue()
        questions = [_Question(log, body, check, deadline, answers) for log in logs]
        for question in questions:
            self._lane(question.log.url).put(question)
        try:
            return _collect([log.url for log in logs], answers, enough, deadline)
        finally:
            for question in questions:
                question.over = True

    def _lane(self, url: str) -> _Lane:
        with self._lock:
            return self._lanes.setdefault(url, _Lane(self._ask))

    def _ask(self, question: _Question) -> SCT:
        """Raises Refused for what the log will not have, Unavailable when it does not answer, Unverified when what it
        answers does not count."""
        pause = _PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                sct = add_pre_chain(self.https, question.log.url, question.body, question.deadline)
                question.check(question.log, sct)
            except _Busy as ex:
                wait = max(pause, ex.retry_after)
                if attempt == _ATTEMPTS or question.over or question.deadline.part(wait).at >= question.deadline.at:
                    raise
                self.sleep(wait)
                pause *= 4
            else:
                return sct
        raise AssertionError


class _Busy(Unavailable):
    """The log may answer a little later."""

    def __init__(self, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class _Lane:
    """The threads of one log, so that one that hangs keeps no other waiting. They are daemons: nor does it keep the
    process from ending."""

    def __init__(self, ask: Callable[[_Question], SCT]) -> None:
        self._ask = ask
        self._questions: SimpleQueue[_Question] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0
        self._idle = 0

    def put(self, question: _Question) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < WORKERS:
                self._threads += 1
                Thread(target=self._work, name="log", daemon=True).start()
        self._questions.put(question)

    def _work(self) -> None:
        while True:
            question = self._questions.get()
            if not question.over and not question.deadline.is_over:
                question.answers.put((question.log, self._answer(question)))
            with self._lock:
                self._idle += 1

    def _answer(self, question: _Question) -> SCT | PkiconfError:
        try:
            return self._ask(question)
        except PkiconfError as ex:
            return ex
        except TimeoutError:
            return Unavailable("it gave no answer in time")
        except Exception as ex:
            _log.exception("asking %s failed", question.log.url)
            return Unavailable(f"asking it failed: {type(ex).__name__}")


def _collect(
    urls: Sequence[str], answers: SimpleQueue[tuple[LogSpec, SCT | PkiconfError]], enough: int, deadline: Deadline
) -> Gathered:
    scts: list[SCT] = []
    waiting = set(urls)
    failures: dict[str, str] = {}
    silent: set[str] = set()
    while waiting and len(scts) < enough:
        try:
            log, answer = answers.get(timeout=deadline.left())
        except (Empty, TimeoutError):
            break
        waiting.discard(log.url)
        if isinstance(answer, SCT):
            scts.append(answer)
            continue
        failures[log.url] = answer.detail
        if isinstance(answer, Unavailable):
            silent.add(log.url)
    if len(scts) < enough:
        failures.update(dict.fromkeys(waiting, "it gave no answer in time"))
        silent |= waiting
    return Gathered(tuple(scts), failures, frozenset(silent))


def add_pre_chain(https: HTTPSClient, url: str, body: bytes, deadline: Deadline) -> SCT:
    """Raises Unavailable, Refused, Unverified (an answer that is none)."""
    where = f"{url.rstrip('/')}/ct/v1/add-pre-chain"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        answer = https.request(
            "POST", where, body=body, headers=headers, limit=LARGEST_ANSWER, seconds=deadline.left()
        )  # fmt: skip
    except Unavailable as ex:
        raise _Busy(ex.detail) from None
    if answer.status == 200:
        return _parse(answer.body)
    complaint = f"it answered {answer.status}{_shown(answer.body)}"
    if answer.status == 429 or answer.status >= 500:
        raise _Busy(complaint, _retry_after(answer))
    raise Refused(complaint)


def _parse(body: bytes) -> SCT:
    """RFC 6962 §4.1."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise Unverified("what it answered is not JSON") from None
    if not isinstance(said, dict) or said.get("sct_version") != 0 or isinstance(said["sct_version"], bool):
        raise Unverified("what it answered is no signed certificate timestamp of version 1")
    log_id, extensions, signature = (_octets(said, name) for name in ("id", "extensions", "signature"))
    timestamp = said.get("timestamp")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 0 <= timestamp < 1 << 64:
        raise Unverified("the timestamp that it answered is no number of milliseconds")
    if len(log_id) != LOG_ID_SIZE:
        raise Unverified("the log id that it answered has another length than 32 octets")
    if max(len(extensions), len(signature)) > 0xFFFF:
        raise Unverified("what it answered is longer than a timestamp can hold")
    return SCT(log_id, timestamp, extensions, signature)


def _octets(said: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(said[name], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise Unverified(f"{name} in its answer is not base64") from None


def _retry_after(answer: HTTPSAnswer) -> float:
    """Seconds; a date (RFC 9110 §10.2.3) is not waited for."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _shown(body: bytes) -> str:
    """The beginning of what a stranger wrote, printable ASCII alone: logs and terminals will show it."""
    text = "".join(chr(octet) if 0x20 <= octet < 0x7F else " " for octet in body[:_LONGEST_COMPLAINT]).strip()
    return f": {text}" if text else ""
