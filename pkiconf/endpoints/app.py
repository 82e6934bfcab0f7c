"""The one WSGI application. A protocol is one line here."""

from __future__ import annotations

from collections.abc import Callable

import falcon

from pkiconf.endpoints import aia, crl, health, links, metrics, ocsp, timestamp
from pkiconf.endpoints.acme import mount as acme
from pkiconf.endpoints.client_address import ClientAddress
from pkiconf.endpoints.errors import add_error_handlers
from pkiconf.endpoints.front import DirectOCSP, DirectTimestamps, Front, WSGIApplication
from pkiconf.endpoints.middleware import BodyLimit, RequestLog
from pkiconf.endpoints.scep import ndes, operations
from pkiconf.endpoints.wsgi import App, Response
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings

Mount = Callable[[App, Services], None]

PROTOCOLS: tuple[Mount, ...] = (
    acme.mount, ocsp.mount, crl.mount, aia.mount, operations.mount, ndes.mount, timestamp.mount, links.mount,
)  # fmt: skip
OPERATIONS: tuple[Mount, ...] = (health.mount, metrics.mount)


def create_app(services: Services, settings: ProcessSettings) -> App:
    """Everything clients see; operations too, unless they have a listener of their own."""
    mounted = PROTOCOLS if settings.operations_bind else (*PROTOCOLS, *OPERATIONS)
    return _app(services, settings, mounted)


def create_server_app(services: Services, settings: ProcessSettings) -> WSGIApplication:
    """`create_app` for a server, with what needs no framework in front of it. With an access log every request has to
    pass through it."""
    app = create_app(services, settings)
    if settings.access_log != "off":
        return app
    return Front(app, (DirectOCSP(services.ocsp, services.parts.clock), DirectTimestamps(services.timestamps)))


def create_operations_app(services: Services, settings: ProcessSettings) -> App:
    """/healthz, /readyz and /metrics only."""
    return _app(services, settings, OPERATIONS)


def _app(services: Services, settings: ProcessSettings, mounted: tuple[Mount, ...]) -> App:
    app: App = falcon.App(
        middleware=[
            ClientAddress(settings.trusted_proxies),
            RequestLog(settings.access_log),
            BodyLimit(settings.max_body),
        ],
        response_type=Response,
    )
    app.req_options.strip_url_path_trailing_slash = False
    add_error_handlers(app)
    for mount in mounted:
        mount(app, services)
    return app
