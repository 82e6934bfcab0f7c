"""Whether the URLs in certificates and directories lead to a server of this installation.

A server of another name, or a proxy before this one, is nothing that can be judged here: only a loopback address has to
have one of our own ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pkiconf.diagnosis.finding import Finding, ok, warning
from pkiconf.issuance.issuer import load_settings
from pkiconf.settings import ProcessSettings
from pkiconf.spec.settings import Settings
from pkiconf.store.database import Connection

BASE_URL: Final = "base_url"
_PORTS: Final = {"http": 80, "https": 443}


def check_base_url(c: Connection, listeners: ProcessSettings) -> Iterator[Finding]:
    """Said only where it is known what a server listens on: with `bind` set by a variable or a flag."""
    if "bind" in listeners.model_fields_set:
        pki = load_settings(c)
        yield unserved(pki, listeners) or ok(BASE_URL, pki.base_url)


def unserved(pki: Settings, listeners: ProcessSettings) -> Finding | None:
    """The first base that nothing of this server listens at."""
    ports = {"http": _port(listeners.bind), "https": _port(listeners.tls_bind) if listeners.tls_bind else None}
    for what, field, base in (
        ("certificates", "urls: { status: %s }" if pki.urls.status else "base_url: %s", pki.status_url),
        ("ACME and SCEP", "urls: { enrolment: %s }" if pki.urls.enrolment else "base_url: %s", pki.enrolment_url),
    ):
        at = urlsplit(base)
        port = at.port or _PORTS[at.scheme]
        if _is_loopback(at.hostname or "") and port != ports[at.scheme]:
            how = f" by {at.scheme}" if port in ports.values() else ""
            text = f"the URLs of {what} begin with {base}, and this server does not listen on port {port}{how}"
            wanted = field % _moved(at, ports)
            remedy = f"Declare `settings: {{ {wanted} }}`; certificates keep the URLs that they were issued with"
            return warning(BASE_URL, text, remedy)
    return None


def _moved(at: SplitResult, ports: Mapping[str, int | None]) -> str:
    """Its own scheme where something listens by that; by http something always does."""
    host = f"[{at.hostname}]" if ":" in (at.hostname or "") else at.hostname
    scheme = at.scheme if ports[at.scheme] is not None else "http"
    return f"{scheme}://{host}:{ports[scheme]}"


def _port(bind: str) -> int:
    return int(bind.rpartition(":")[2])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
