"""Caddy obtains by itself, with either challenge, and renews by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.acme.pki import PKI
from tests.interop.acme.servers import pem, served, still_running
from tests.serving.running import eventually
from tests.tools import find_tool

CADDYFILE = """
{{
	admin off
	persist_config off
	storage file_system {folder}/storage
	http_port {http}
	https_port {tls}
	skip_install_trust
	renew_interval 1s
	ocsp_interval 1s
}}
{name} {{
	bind 127.0.0.1
	tls {{
		issuer acme {{
			dir {directory}
			trusted_roots {root}
			email ops@corp.example
			eab {kid} {key}
			{challenge}
		}}
	}}
	respond "hello"
}}
"""


def configured(pki: PKI, folder: Path, name: str, challenge: str, kid: str = "") -> Path:
    path = folder / "Caddyfile"
    path.write_text(CADDYFILE.format(
        folder=folder, http=pki.http, tls=pki.tls, name=name, directory=pki.directory, root=pki.root,
        kid=kid or pki.kid, key=pki.hmac_key, challenge=challenge,
    ))  # fmt: skip
    return path


@pytest.mark.row("F113")
@pytest.mark.parametrize(
    ("name", "challenge"),
    [("caddy-tls.corp.example", "disable_http_challenge"), ("caddy-http.corp.example", "disable_tlsalpn_challenge")],
)
def test_obtains(pki: PKI, tmp_path: Path, name: str, challenge: str) -> None:
    caddy = find_tool("caddy")
    with pki.installation.running(
        "run", "--config", configured(pki, tmp_path, name, challenge), program=(caddy,)
    ) as tree:
        eventually(lambda: still_running(tree) and served(pki, name, pki.tls))
        tree.wait_for(".*certificate obtained successfully.*")
        der = served(pki, name, pki.tls)
        assert der is not None
        pki.verified(pem(tmp_path, der), pki.issuing, name)


def test_renews(pki: PKI, tmp_path: Path) -> None:
    """Certificates of a minute: the next one is there before the first has ended."""
    caddy, name = find_tool("caddy"), "caddy-brief.corp.example"
    file = configured(pki, tmp_path, name, "", kid="brief")
    with pki.installation.running("run", "--config", file, program=(caddy,)) as tree:
        eventually(lambda: still_running(tree) and served(pki, name, pki.tls))
        first = served(pki, name, pki.tls)
        assert first is not None
        eventually(lambda: still_running(tree) and served(pki, name, pki.tls) not in (None, first), 90)
        tree.wait_for(".*certificate renewed successfully.*")
