"""A PKI that is really running, for strangers' ACME clients: server, worker and watcher as `pkiconf up` starts them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pkiconf.cli.listening import is_listening
from tests.acme_world import name_server
from tests.interop.acme.records import Records
from tests.ports import free_port
from tests.serving.running import Installation, Running, Server, eventually
from tests.tools import accepted, find_tool, run_tool

DECLARATION = """
settings:
  base_url: http://127.0.0.1:{port}
  urls: {{ enrolment: "{enrolment}" }}
  validation:
    resolvers: ["127.0.0.1:{dns}"]
    allowed_networks: [127.0.0.0/8]
    http_port: {http}
    tls_port: {tls}
authorities:
  - {{ name: root, subject: {{ common_name: Interop Root }}, key: {{ type: ec, curve: p256 }} }}
  - {{ name: issuing, issuer: root, subject: {{ common_name: Interop Issuing }}, key: {{ type: ec, curve: p256 }} }}
templates:
  - name: web-server
    authority: issuing
    starter: web-server
    validity: 90d
    names: {{ allow: {{ dns: ["*.corp.example", "*.known.example", "*.internal", intranet], ip: [127.0.0.0/8] }} }}
  - name: brief
    authority: issuing
    starter: web-server
    validity: 1m
    names: {{ allow: {{ dns: ["*.corp.example"] }} }}
  - name: listener
    authority: issuing
    starter: web-server
    names: {{ allow: {{ dns: [localhost] }} }}
acme_policies:
  - name: internal
    profiles: {{ usual: issuing/web-server, brief: issuing/brief }}
    default_profile: usual
    preapproved_domains: ["*.known.example", "*.internal", intranet]
    external_account_bindings:
      - {{ name: clients, max_accounts: null, key_id: {kid}, hmac_key: !env INTEROP_HMAC_KEY }}
  - name: brief
    template: issuing/brief
    external_account_bindings:
      - {{ name: clients, max_accounts: null, key_id: brief, hmac_key: !env INTEROP_HMAC_KEY }}
"""


@dataclass(frozen=True)
class PKI:
    """`http` and `tls` are the ports that challenges are looked for at; `hmac_key` is unpadded base64url. `server` is
    the plain listener; the directory is on TLS, which Traefik insists on."""

    installation: Installation
    tree: Running
    server: Server
    directory: str
    records: Path
    dns: int
    http: int
    tls: int
    kid: str
    hmac_key: str
    root: Path
    issuing: Path

    def command(self, *words: str | Path) -> str:
        """What a command of ours prints."""
        return self.installation.run(*words).stdout

    def verified(self, leaf: Path, chain: Path | None = None, name: str = "") -> str:
        """Openssl's judgement of a certificate, and everything that it reads in it."""
        accepted(run_tool(
            "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", self.root,
            "-untrusted", chain or leaf, *(("-verify_hostname", name) if name else ()), leaf,
        ))  # fmt: skip
        return accepted(run_tool("openssl", "x509", "-in", leaf, "-noout", "-text"))

    def is_revoked(self, leaf: Path, name: str) -> bool:
        """As OCSP says."""
        said = run_tool(
            "openssl", "ocsp", "-issuer", self.issuing, "-cert", leaf, "-CAfile", self.root, "-no_nonce",
            "-verify_other", self.issuing, "-url", f"{self.server.url}/ocsp/issuing",
        )  # fmt: skip
        text = accepted(said)
        assert "Response verify OK" in text
        return f"{leaf}: revoked" in text

    def orders(self) -> list[dict[str, object]]:
        return list(json.loads(self.command("acme", "order", "list", "--json")))


@contextmanager
def running_pki(folder: Path, database_url: str | None, server_name: str = "gunicorn") -> Iterator[PKI]:
    """`database_url` is None for SQLite in the state folder. granian serves the directory without TLS."""
    port, secure, http, tls = free_port(), free_port(), free_port(), free_port()
    # Nothing that looks like an option to certbot, which takes it from its command line.
    key = base64.urlsafe_b64encode(b"\0" + os.urandom(31)).rstrip(b"=").decode()
    enrolment = f"http://127.0.0.1:{port}" if server_name == "granian" else f"https://localhost:{secure}"
    settings = {
        "INTEROP_HMAC_KEY": key,
        "PKICONF_STATUS_SERVER": server_name,
        **({"PKICONF_DATABASE_URL": database_url} if database_url else {}),
    }
    installation, declaration, records = Installation(folder, settings), folder / "pki.yaml", folder / "records"
    with name_server(Records(records)) as dns:
        declared = DECLARATION.format(port=port, enrolment=enrolment, dns=dns, http=http, tls=tls, kid="clients")
        declaration.write_text(declared)
        listeners = (
            "--bind", f"127.0.0.1:{port}", "--tls-bind", f"127.0.0.1:{secure}", "--tls-template", "issuing/listener",
            "--tls-names", "localhost",
        )  # fmt: skip
        with installation.running("up", declaration, *listeners) as tree:
            server = Server(port, tree)
            eventually(lambda: tree.process.poll() is not None or server.answers(), 90)
            assert tree.process.poll() is None, tree.text
            eventually(lambda: len(tree.processes("pkiconf worker")) > 0 and is_listening(f"127.0.0.1:{secure}"))
            yield PKI(
                installation, tree, server, f"{enrolment}/acme/directory", records, dns, http, tls,
                "clients", key, installation.export("root"), installation.export("issuing"),
            )  # fmt: skip
            assert "Traceback" not in tree.text, tree.text


def run_client(
    pki: PKI, *words: str | Path, seconds: float = 90, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A client to its end, whatever it says; its standard output and error in one."""
    program = find_tool(str(words[0]))
    return subprocess.run(
        [program, *map(str, words[1:])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=seconds, cwd=pki.installation.folder,
        env={
            **os.environ, "HOME": str(pki.installation.folder), "REQUESTS_CA_BUNDLE": str(pki.root),
            "LEGO_CA_CERTIFICATES": str(pki.root), **(environment or {}),
        },
    )  # fmt: skip
