"""A PKI that is really running, for strangers' SCEP clients: RSA, EC and ML-DSA authorities under one server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.serving.running import Installation, Running, Server, eventually
from tests.tools import accepted, run_tool

PASSPHRASE = "a-passphrase-for-all"
AUTHORITIES = {"rsa": "{ type: rsa, size: 2048 }", "ec": "{ type: ec, curve: p256 }"}
DECLARATION = """
settings: {{ base_url: "http://127.0.0.1:{port}" }}
authorities:
  - {{ name: rsa-root, subject: {{ common_name: RSA Root }}, key: {{ type: rsa, size: 2048 }} }}
  - {{ name: rsa, issuer: rsa-root, subject: {{ common_name: RSA Issuing }}, key: {{ type: rsa, size: 2048 }} }}
  - {{ name: ec-root, subject: {{ common_name: EC Root }}, key: {{ type: ec, curve: p256 }} }}
  - {{ name: ec, issuer: ec-root, subject: {{ common_name: EC Issuing }}, key: {{ type: ec, curve: p256 }} }}
  - {{ name: ml-dsa, subject: {{ common_name: ML-DSA Root }}, key: {{ type: ml-dsa, parameter_set: 65 }} }}
templates:
  - {{ name: device, authority: rsa-root, starter: device, scep: &scep {{ enabled: true, static_passphrase: !env
      INTEROP_PASSPHRASE }} }}
  - {{ name: device, authority: rsa, starter: device, scep: *scep }}
  - {{ name: device, authority: ec, starter: device, scep: *scep }}
  - {{ name: device, authority: ml-dsa, starter: device, scep: *scep }}
  - {{ name: des, authority: rsa, starter: device, scep: &des {{ enabled: true, single_des: true,
      static_passphrase: !env INTEROP_PASSPHRASE }} }}
  - {{ name: des, authority: ec, starter: device, scep: *des }}
  - {{ name: waits, authority: rsa, starter: device, scep: {{ enabled: true, challenges: true, approval: true }} }}
"""
ALL = ("rsa-root", "rsa", "ec")


@dataclass(frozen=True)
class PKI:
    installation: Installation
    tree: Running
    server: Server

    def url(self, authority: str, template: str = "device") -> str:
        return f"{self.server.url}/scep/{authority}/{template}"

    def verified(self, leaf: Path, authority: str) -> str:
        """Openssl's judgement of a certificate (PEM), and everything that it reads in it."""
        root = self._exported("rsa-root" if authority.startswith("rsa") else "ec-root")
        below = ("-untrusted", self._exported(authority)) if not authority.endswith("root") else ()
        accepted(run_tool("openssl", "verify", "-x509_strict", "-CAfile", root, *below, leaf))
        return accepted(run_tool("openssl", "x509", "-in", leaf, "-noout", "-text"))

    def _exported(self, name: str) -> Path:
        """Once: each command is another process."""
        path = self.installation.folder / f"{name}-ca.pem"
        return path if path.exists() else self.installation.export(name)


@contextmanager
def running_pki(folder: Path, server_name: str = "gunicorn") -> Iterator[PKI]:
    port = free_port()
    settings = {"INTEROP_PASSPHRASE": PASSPHRASE, "PKICONF_STATUS_SERVER": server_name}
    installation, declaration = Installation(folder, settings), folder / "pki.yaml"
    declaration.write_text(DECLARATION.format(port=port))
    with installation.running("up", declaration, "--bind", f"127.0.0.1:{port}") as tree:
        server = Server(port, tree)
        eventually(lambda: tree.process.poll() is not None or server.answers(), 120)
        assert tree.process.poll() is None, tree.text
        yield PKI(installation, tree, server)
        assert "Traceback" not in tree.text, tree.text


def serial_of(path: Path, form: str = "PEM") -> str:
    return accepted(run_tool("openssl", "x509", "-inform", form, "-in", path, "-noout", "-serial")).strip()
