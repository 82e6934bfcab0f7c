"""/healthz: this process answers. /readyz: it can do its work."""

from __future__ import annotations

import falcon

from pkiconf.endpoints.caching import answer_once
from pkiconf.endpoints.wsgi import App
from pkiconf.services import Services
from pkiconf.store import authorities


class HealthResource:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "text/plain"
        answer_once(resp, b"ok\n")

    on_head = on_get


class ReadyResource:
    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """503 (by the error table) when the database cannot be read."""
        number = len(self._services.parts.db.read(authorities.list_authorities))
        resp.content_type = "text/plain"
        answer_once(resp, f"ready: {number} authorities\n".encode())

    on_head = on_get


def mount(app: App, services: Services) -> None:
    app.add_route("/healthz", HealthResource())
    app.add_route("/readyz", ReadyResource(services))
