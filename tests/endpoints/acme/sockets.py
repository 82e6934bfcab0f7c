"""The client of `wire`, over a socket: to a real server, in processes of its own, on an installation of its own."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

from pkiconf.bootstrap import open_services
from pkiconf.endpoints.wsgi import App
from pkiconf.settings import ProcessSettings
from tests.acme.place import PKI, Place
from tests.endpoints.acme.conftest import PREAPPROVED
from tests.endpoints.acme.wire import Wire
from tests.serving.running import Installation


def forwarding(port: int) -> App:
    """In the place of the application: what it is asked goes to a server, over a connection of its own each time."""

    def forward(env: dict[str, Any], start: Any) -> Iterable[bytes]:
        target = quote(env["RAW_URI"], safe="/%:'*") + (
            "?" + quote(env["QUERY_STRING"], safe="=&%") if env["QUERY_STRING"] else ""
        )
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in env.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        }
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request(env["REQUEST_METHOD"], target, env["wsgi.input"].read() or None, headers)
            answer = connection.getresponse()
            start(f"{answer.status} {answer.reason}", answer.getheaders())
            return [answer.read()]
        finally:
            connection.close()

    return cast("App", forward)


@contextmanager
def served_place(folder: Path) -> Iterator[tuple[Place, App]]:
    """A running server, and its database as the tests look at it."""
    installation = Installation(folder)
    (folder / "pki.yaml").write_text(PKI)
    installation.run("apply", "--yes", "pki.yaml")
    with (
        open_services(ProcessSettings(state=installation.state)) as services,
        installation.serving() as server,
    ):
        world = SimpleNamespace(services=services, parts=services.parts, clock=services.parts.clock)
        yield Place(cast("Any", world)), forwarding(server.port)


def prepare(place: Place, app: App) -> Wire:
    """A client with an account of its own, at the policy that lets anybody in."""
    place.policy("internal", preapproved_domains=[PREAPPROVED])
    wire = Wire(app, place)
    assert wire.register().status == 201
    return wire
