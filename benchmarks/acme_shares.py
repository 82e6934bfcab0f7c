"""Where the time of an ACME certificate goes: the application and the worker's validations driven in one thread of this
process, without a server around them, so that other work on the machine changes little.

Prints, for each kind of request, what it costs in raw signatures measured in between, and how many statements it runs;
then the rooms that the time goes to, libraries with the room that called them, looked at with each tick of the kernel;
and as many functions as the variable FUNCTIONS says, with everything that they call.
"""

from __future__ import annotations

import base64
import gc
import io
import json
import multiprocessing
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.acme import DECLARATION, DOMAINS, postgresql
from benchmarks.acme_load import Answer, Client, Loop, Record, Wish, Work, serve_names, serve_tokens
from benchmarks.prepared import prepared
from pkiconf.endpoints.app import create_server_app
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings
from pkiconf.store.prepared import Prepared
from tests.ports import free_port

COUNT: Final = 300
_WARM: Final = 20
_SEALED: Final = 50
"""Certificates between two times that the worker seals the audit log: about a second's."""

_RAW: Final = 8  # signatures measured after each certificate
_HOST: Final = "127.0.0.1"
_TICK: Final = 0.001


@dataclass
class Samples:
    """Where this process was, at each tick of its CPU time: by itself, and with all that it had called."""

    rooms: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    wanted: bool = False
    """Whether it is of interest where this process is."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, _TICK, _TICK)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _take(self, _: int, frame: FrameType | None) -> None:
        if not self.wanted:
            return
        seen: set[str] = set()
        room = ""
        while frame is not None:
            code = frame.f_code
            room = room or _room(code.co_filename)
            seen.add(f"{_short(code.co_filename)}:{code.co_firstlineno} {code.co_name}")
            frame = frame.f_back
        self.rooms[room] += 1
        self.functions.update(seen)


@dataclass
class Meter:
    """CPU seconds of this thread, times and statements, by what was done."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    times: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    statements: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    samples: Samples = field(default_factory=Samples)
    _run: int = 0

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        first = self._run
        self.samples.wanted = True
        begun = time.thread_time()
        yield
        spent = time.thread_time() - begun
        self.samples.wanted = False
        self.spent[what] += spent
        self.times[what] += 1
        self.statements[what] += self._run - first

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts every statement that is run by `Prepared`."""
        original = Prepared._run

        def run(this: Any, c: Any, parameters: Any) -> Any:
            self._run += 1
            return original(this, c, parameters)

        Prepared._run = run  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Prepared._run = original  # type: ignore[method-assign]


@dataclass(frozen=True)
class Place:
    """The application, its worker's part, and the client that asks for certificates."""

    app: Callable[[dict[str, Any], Callable[..., Any]], Any]
    services: Services
    client: Client
    port: int

    def obtain(self, work: Work, meter: Meter) -> None:
        said: Any = None
        while True:
            try:
                wish = work.send(said)
            except StopIteration:
                return
            if isinstance(wish, bytes):
                said = self._answer(wish, meter)
            else:
                said = None
                self._validate(meter)

    def _answer(self, octets: bytes, meter: Meter) -> Answer:
        head, _, body = octets.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        seen: list[Any] = []
        environ = _environ(method, path, body, self.port)
        with meter.of(_kind(method, path)):
            answered = b"".join(self.app(environ, lambda status, headers, *_: seen.extend((status, headers))))
        headers = {name.lower().encode(): value.encode() for name, value in seen[1]}
        return Answer(int(seen[0][:3]), headers, answered)

    def _validate(self, meter: Meter) -> None:
        """What the worker does meanwhile."""
        validations = self.services.acme.validations
        with meter.of("claim of a validation"):
            tasks = validations.claim("benchmark", 16)
        for task in tasks:
            with meter.of("validation"):
                validations.attempt(task)


def acme_shares() -> None:
    gc.set_threshold(50_000, 20, 20)  # as the program does
    for database in ("SQLite", "PostgreSQL"):
        for policy in ("proved", "known"):
            with ExitStack() as opened:
                url = opened.enter_context(postgresql()) if database == "PostgreSQL" else None
                _show(f"{database}, {policy}", *_measured(url, policy))


def _measured(url: str | None, policy: str) -> tuple[Meter, float, Samples]:
    with _place(url, policy) as place:
        names = (f"w{number}-{os.getpid():x}.{DOMAINS[policy]}" for number in range(10**9))
        place.obtain(place.client.register(), Meter())
        for _ in range(_WARM):
            place.obtain(place.client.obtain(next(names)), Meter())
        meter, signing = Meter(), _raw_signing()
        raw = 0.0
        with meter.counting():
            for number in range(COUNT):
                place.obtain(place.client.obtain(next(names)), meter)
                if number % _SEALED == 0:
                    with meter.of("sealing the audit log"):
                        place.services.sealer.seal(place.services.parts.now())
                raw += signing()
        looked = Meter()
        with looked.samples.taken():
            for _ in range(2 * COUNT):
                place.obtain(place.client.obtain(next(names)), looked)
        return meter, raw / COUNT / _RAW, looked.samples


def _show(what: str, meter: Meter, raw: float, samples: Samples) -> None:
    total = sum(meter.spent.values()) / COUNT / raw
    statements = sum(meter.statements.values()) / COUNT
    print(f"{what}: {total:.0f} raw signatures, {statements:.1f} statements, {raw * 1e6:.1f} µs")
    for kind, spent in meter.spent.items():
        each = meter.statements[kind] / meter.times[kind]
        print(
            f"    {kind:28} {meter.times[kind] / COUNT:4.2f} × {spent / meter.times[kind] / raw:6.1f} = "
            f"{spent / COUNT / raw:6.1f} raw; {each:4.1f} statements"
        )
    whole = samples.rooms.total()
    print(
        "    where: " + ", ".join(f"{room} {own / whole:.0%}" for room, own in samples.rooms.most_common()), flush=True
    )
    for function, of in samples.functions.most_common(int(os.environ.get("FUNCTIONS", "0"))):
        print(f"    {of / whole:6.1%} {function}")


def _room(file: str) -> str:
    """Empty for a library."""
    if "/pkiconf/" not in file:
        return ""
    parts = _short(file).split("/")
    return "/".join(parts[1:3]) if parts[1] == "endpoints" and len(parts) > 3 else parts[1]


def _short(file: str) -> str:
    for folder in ("/site-packages/", "/lib/", "/pkiconf/"):
        _, found, rest = file.rpartition(folder)
        if found:
            return rest if folder != "/pkiconf/" else f"pkiconf/{rest}"
    return file


def _kind(method: str, path: str) -> str:
    parts = path.split("/")
    return f"{method} {parts[2]}" + (" finalize" if parts[-1] == "finalize" else "")


def _raw_signing() -> Callable[[], float]:
    key, algorithm, message = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256()), bytes(600)

    def measure() -> float:
        begun = time.thread_time()
        for _ in range(_RAW):
            key.sign(message, algorithm)
        return time.thread_time() - begun

    return measure


def _environ(method: str, path: str, body: bytes, port: int) -> dict[str, Any]:
    """As gunicorn makes it."""
    return {
        "wsgi.errors": None, "wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True,
        "wsgi.run_once": False, "wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http", "SERVER_SOFTWARE": "gunicorn", "REQUEST_METHOD": method, "QUERY_STRING": "",
        "RAW_URI": path, "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": f"{_HOST}:{port}",
        "HTTP_USER_AGENT": "pkiconf-benchmark", "CONTENT_TYPE": "application/jose+json" if body else "",
        "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": _HOST, "REMOTE_PORT": "1", "SERVER_NAME": _HOST,
        "SERVER_PORT": str(port),
    }  # fmt: skip


@contextmanager
def _place(url: str | None, policy: str) -> Iterator[Place]:
    ports = {name: free_port() for name in ("port", "dns", "http")}
    key = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    os.environ["BENCHMARK_HMAC_KEY"] = key
    wish = Wish("", policy, key, DOMAINS[policy], ports["http"], ports["dns"])
    client = Client(wish, {}, {}, Record(), 0)
    with _answering(client), prepared(DECLARATION.format(**ports), url) as services:
        app = create_server_app(services, ProcessSettings())
        directory = b"".join(app(_environ("GET", "/acme/directory", b"", ports["port"]), lambda *_: None))
        client.urls.update(json.loads(directory))
        yield Place(app, services, client, ports["port"])


class _Tokens(dict[bytes, bytes]):
    """The key authorization of every token: all are of one account."""

    def __init__(self, thumbprint: str) -> None:
        super().__init__()
        self._thumbprint = thumbprint

    def get(self, token: bytes, default: Any = None) -> Any:
        return token + b"." + self._thumbprint.encode()


@contextmanager
def _answering(client: Client) -> Iterator[None]:
    """A DNS server and an http-01 responder, in a process whose time is not counted."""
    ready = multiprocessing.Event()

    def serve() -> None:
        loop = Loop()
        serve_names(loop, client.wish.dns)
        serve_tokens(loop, (_HOST, client.wish.http), _Tokens(client.thumbprint))
        ready.set()
        loop.run(lambda: False)

    process = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
    process.start()
    assert ready.wait(20)
    try:
        yield
    finally:
        process.terminate()
        process.join()
