"""Traefik obtains by itself, with either challenge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.acme.pki import PKI
from tests.interop.acme.servers import pem, served, still_running
from tests.serving.running import eventually
from tests.tools import find_tool

STATIC = """
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
log: {{ level: DEBUG, noColor: true }}
entryPoints:
  web: {{ address: "127.0.0.1:{http}" }}
  websecure: {{ address: "127.0.0.1:{tls}" }}
providers: {{ file: {{ filename: {folder}/dynamic.yaml, watch: false }} }}
certificatesResolvers:
  internal:
    acme:
      caServer: {directory}
      caCertificates: [{root}]
      email: ops@corp.example
      storage: {folder}/acme.json
      eab: {{ kid: {kid}, hmacEncoded: {key} }}
      {challenge}
"""

DYNAMIC = """
http:
  routers:
    site: {{ rule: "Host(`{name}`)", entryPoints: [websecure], service: nowhere, tls: {{ certResolver: internal }} }}
  services:
    nowhere: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:9" }}] }} }}
"""


@pytest.mark.row("F112")
@pytest.mark.parametrize(
    ("name", "challenge"),
    [
        ("traefik-http.corp.example", "httpChallenge: { entryPoint: web }"),
        ("traefik-tls.corp.example", "tlsChallenge: {}"),
    ],
)
def test_obtains(pki: PKI, tmp_path: Path, name: str, challenge: str) -> None:
    traefik = find_tool("traefik")
    (tmp_path / "dynamic.yaml").write_text(DYNAMIC.format(name=name))
    static = tmp_path / "static.yaml"
    static.write_text(STATIC.format(
        http=pki.http, tls=pki.tls, folder=tmp_path, directory=pki.directory, kid=pki.kid, key=pki.hmac_key,
        root=pki.root,        challenge=challenge,
    ))  # fmt: skip
    with pki.installation.running(f"--configFile={static}", program=(traefik,)) as tree:
        eventually(lambda: still_running(tree) and served(pki, name, pki.tls), 90)
        der = served(pki, name, pki.tls)
        assert der is not None
        pki.verified(pem(tmp_path, der), pki.issuing, name)
