"""HTTPS to named services: verified, over connections that stay, within one moment and one size."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pkiconf.egress.https import HTTPSAnswer, Redirected, SharedHTTPS, Unreached
from pkiconf.errors import Malformed, Unavailable
from tests.egress.conftest import SilentResolver
from tests.intune_server import Said, StandIn, dripping, never, not_http, reset, running, truncated
from tests.intune_tenant import Tenant


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    """Says what a test writes into `always`, by the last part of a path."""
    with running(StandIn(Tenant(lambda: datetime.now(UTC))), tmp_path) as found:
        yield found


@pytest.fixture
def https(server: StandIn) -> Iterator[SharedHTTPS]:
    client = SharedHTTPS(lambda: ssl.create_default_context(cafile=f"{server.trust}"))
    yield client
    client.close()


def test_an_exchange(server: StandIn, https: SharedHTTPS) -> None:
    server.always["place"] = Said(418, b"tea", {"X-Kind": "green"})
    answer = https.request("POST", f"{server.url}/some/place?q=1", body=b"hello", headers={"X-Asked": "yes"})
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (418, b"tea", "green")
    (heard,) = server.heard
    assert (heard.path, heard.body) == ("/some/place", b"hello")
    assert heard.headers["x-asked"] == "yes"
    assert heard.headers["accept-encoding"] == "identity"
    assert heard.headers["host"] == server.url.removeprefix("https://")


def test_a_connection_stays(server: StandIn, https: SharedHTTPS) -> None:
    peers: list[Any] = []

    def note(handler: Any) -> None:
        peers.append(handler.client_address)
        handler.say(Said(200, {}))

    server.always["place"] = note
    for _ in range(3):
        https.request("GET", f"{server.url}/place")
    assert len(set(peers)) == 1
    https.close()
    https.request("GET", f"{server.url}/place")
    assert len(set(peers)) == 2


def test_many_threads_share_it(server: StandIn, https: SharedHTTPS) -> None:
    server.always["place"] = Said(200, b"x" * 1000)
    found: list[HTTPSAnswer] = []
    threads = [
        threading.Thread(target=lambda: found.append(https.request("GET", f"{server.url}/place"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.body for answer in found] == [b"x" * 1000] * 8


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(server: StandIn, https: SharedHTTPS, status: int) -> None:
    server.always["place"] = Said(status, b"", {"Location": f"{server.url}/elsewhere"})
    with pytest.raises(Redirected, match="redirects to") as failure:
        https.request("GET", f"{server.url}/place")
    assert (failure.value.status, failure.value.location) == (status, f"{server.url}/elsewhere")
    assert server.acts == ["place"]


def test_a_certificate_that_is_not_trusted(server: StandIn) -> None:
    with pytest.raises(Unreached, match="certificate is not trusted"):
        SharedHTTPS().request("GET", f"{server.url}/place")
    assert server.heard == []


def test_a_certificate_of_another_name(server: StandIn, https: SharedHTTPS) -> None:
    with pytest.raises(Unreached, match="certificate is not trusted"):
        https.request("GET", f"{server.url.replace('localhost', '127.0.0.1')}/place")
    assert server.heard == []


@pytest.mark.parametrize("fault", [never, dripping], ids=["silent", "dripping"])
def test_it_ends_in_time(server: StandIn, https: SharedHTTPS, fault: Any) -> None:
    server.always["warm"] = Said(200, {})
    https.request("GET", f"{server.url}/warm")
    server.always["place"] = fault
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"within 0\.5 seconds"):
        https.request("GET", f"{server.url}/place", seconds=0.5)
    assert time.monotonic() - begun < 30


def test_a_listener_that_says_nothing_at_all() -> None:
    """Not even TLS's part of the hand-shake."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Unavailable, match="in"):
        SharedHTTPS().request("GET", f"https://localhost:{listener.getsockname()[1]}/", seconds=0.5)


def test_a_body_has_a_limit(server: StandIn, https: SharedHTTPS) -> None:
    server.always["place"] = Said(200, b"x" * 101)
    assert https.request("GET", f"{server.url}/place", limit=101).body == b"x" * 101
    with pytest.raises(Unavailable, match="more than 100 octets"):
        https.request("GET", f"{server.url}/place", limit=100)


@pytest.mark.parametrize("fault", [truncated, not_http], ids=["truncated", "no HTTP"])
def test_what_is_no_whole_answer(server: StandIn, https: SharedHTTPS, fault: Any) -> None:
    server.always["place"] = fault
    with pytest.raises(Unavailable) as failure:
        https.request("GET", f"{server.url}/place")
    assert not isinstance(failure.value, Unreached)


def test_what_breaks_off_was_not_reached(server: StandIn, https: SharedHTTPS) -> None:
    server.always["place"] = reset
    with pytest.raises(Unreached):
        https.request("GET", f"{server.url}/place")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    with pytest.raises(Unreached):
        https.request("GET", f"https://localhost:{closed}/")


def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreached, match="its name is not known"):
        SharedHTTPS().request("GET", "https://there-is.invalid/")


def test_a_resolver_that_is_silent_is_waited_for_until_the_deadline(silence: SilentResolver) -> None:
    with pytest.raises(Unavailable, match="no whole answer within"):
        SharedHTTPS().request("GET", "https://silent-https.example/", seconds=1)
    assert silence.asked == ["silent-https.example"]
    assert silence.ended == []


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "https://",
        "https:///path",
        "https://user@localhost/",
        "https://user:password@localhost/",
        "https://localhost:0/",
        "https://localhost:99999/",
        "https://localhost:port/",
        "https://[::1/",
        "https://localhost/a b",
        "https://localhost/\r\nX: y",
        "https://localhost/é",
        "https://localhost/#part",
        "localhost",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_https_url(https: SharedHTTPS, server: StandIn, url: str) -> None:
    with pytest.raises(Malformed):
        https.request("GET", url)
    assert server.heard == []


def test_a_header_that_would_be_two_is_not_sent(https: SharedHTTPS, server: StandIn) -> None:
    with pytest.raises(Malformed):
        https.request("GET", f"{server.url}/place", headers={"Authorization": "a\r\nX: y"})
    assert server.heard == []
