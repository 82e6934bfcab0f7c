"""Apache obtains by itself with mod_md, set up word for word as its page says, and serves what it obtained."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.acme.pages import shown
from tests.interop.acme.pki import PKI
from tests.interop.acme.servers import pem, served
from tests.interop.status.web_servers import MODULES, WebServer, apache
from tests.serving.running import eventually

# What mod_md works with, what the page leaves to the system, and this PKI's places.
_AROUND = """
<IfModule !watchdog_module>
  LoadModule watchdog_module {modules}/mod_watchdog.so
</IfModule>
LoadModule md_module {modules}/mod_md.so
LogLevel md:debug
Listen 127.0.0.1:{tls} https
MDStoreDir {folder}/md
MDPortMap 80:{http} 443:{tls}
MDCACertificateFile {folder}/root.pem
MDRetryDelay 5s
{more}
"""


@pytest.fixture
def folder(pki: PKI) -> Iterator[Path]:
    """Where Apache's children, who are nobody, find their way: pytest's own folders are closed to them."""
    with tempfile.TemporaryDirectory(prefix="mod-md-") as name:
        path = Path(name)
        path.chmod(0o755)
        shutil.copy(pki.root, path / "root.pem")
        (path / "root.pem").chmod(0o644)
        yield path


def site(pki: PKI, folder: Path, name: str, more: str = "") -> str:
    page = shown(
        pki, "mod_md", "text", "md.conf",
        {"www.web.corp.example": f"www.{name}", " web.corp.example": f" {name}", "*:443": f"127.0.0.1:{pki.tls}"},
    )  # fmt: skip
    around = _AROUND.format(modules=MODULES, tls=pki.tls, http=pki.http, folder=folder, more=more)
    return around + page


def obtained(pki: PKI, server: WebServer, name: str) -> bytes:
    """What it serves once it has a certificate of ours: it takes it up when it is reloaded."""

    def is_ready() -> bool:
        assert server.tree.process.poll() is None, server.log
        return "AH10059" in server.log  # "now managed, and will be activated on next restart"

    try:
        eventually(is_ready, 90)
    except AssertionError as error:
        raise AssertionError(server.log[-20_000:]) from error
    server.tree.process.send_signal(signal.SIGUSR1)  # apachectl graceful
    eventually(lambda: served(pki, name, pki.tls), 60)
    der = served(pki, name, pki.tls)
    assert der is not None
    return der


@pytest.mark.row("F113")
@pytest.mark.parametrize(
    ("name", "more"),
    [("mod-md-http.corp.example", "MDCAChallenges http-01"),
     ("mod-md-tls.corp.example", "MDCAChallenges tls-alpn-01\nProtocols http/1.1 acme-tls/1")],
)  # fmt: skip
def test_its_page_is_true(pki: PKI, folder: Path, name: str, more: str) -> None:
    with apache(folder, pki.http, site(pki, folder, name, more)) as server:
        der = obtained(pki, server, name)
        text = pki.verified(pem(folder, der), pki.issuing, f"www.{name}")
        assert f"DNS:{name}, DNS:www.{name}" in text
        assert "NIST CURVE: P-256" in text
