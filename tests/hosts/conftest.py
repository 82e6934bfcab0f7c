"""Two hosts that serve one PKI, for all tests of a module."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pkiconf.bootstrap import open_services
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings
from tests.acme_world import challenge_responder, name_server
from tests.hosts.network import WIRE, Fleet, Host, fleet, host
from tests.serving.running import apply_here

BASE_URL = "http://pki.corp.example"
SERVICES = tuple(f"renewed-{number}" for number in range(4))
"""Authorities whose OCSP certificates are renewed together."""

DECLARATION = """
settings:
  base_url: {base_url}
  validation: {{ resolvers: ["{wire}:{dns}"], allowed_networks: [10.77.0.0/24], http_port: {http} }}
authorities:
  - {{ name: root, key: &key {{ type: ec, curve: p256 }}, default_templates: [] }}
  - {{ name: issuing, issuer: root, key: *key, default_templates: [] }}
  - {{ name: ahead, issuer: root, key: *key, default_templates: [], ocsp: {{ presign: [sha1] }} }}
  - {{ name: devices, issuer: root, key: {{ type: rsa, size: 2048 }}, default_templates: [] }}
  {renewed}
templates:
  - {{ name: web, authority: issuing }}
  - {{ name: web, authority: ahead }}
  - name: device
    authority: devices
    starter: device
    scep: {{ enabled: true, static_passphrase: !env TEST_PASSPHRASE }}
acme_policies:
  - name: everyone
    template: issuing/web
    preapproved_domains: ["*.known.example"]
    challenges: [http-01]
    external_account_required: false
"""
PASSPHRASE = "a passphrase for all of them"
_RENEWED = "- {{ name: {name}, issuer: root, key: *key, default_templates: [] }}"


class Tokens(dict[str, str]):
    """Key authorizations (RFC 8555 §8.1) that every name proves itself with. `fetched` is what was asked for; while
    something is `withheld` nobody gets an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.answering = threading.Event()
        self.answering.set()

    def get(self, token: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.fetched.append(token)
        self.answering.wait(120)
        return super().get(token, default)

    @contextmanager
    def withheld(self) -> Iterator[None]:
        self.answering.clear()
        try:
            yield
        finally:
            self.answering.set()


@dataclass
class Site:
    """Both hosts serve. `services` are the PKI's as a third host has them, where the test itself runs."""

    fleet: Fleet
    folder: Path
    services: Services
    tokens: Tokens

    @property
    def a(self) -> Host:
        return self.fleet.a

    @property
    def b(self) -> Host:
        return self.fleet.b

    @property
    def both(self) -> tuple[Host, Host]:
        return self.a, self.b

    @contextmanager
    def another(self, name: str, number: int) -> Iterator[Host]:
        """A host that may be killed."""
        with host(name, number, self.folder, self.fleet.settings) as third:
            yield third

    @contextmanager
    def revoker(self, there: Host) -> Iterator[Callable[[int, int], None]]:
        """What revokes on that host: it returns when that was acknowledged."""
        command = there.inside(sys.executable, "-m", "tests.hosts.revoker", there.installation.state)
        with subprocess.Popen(
            command, env=there.installation.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            told, heard = child.stdin, child.stdout
            assert told is not None
            assert heard is not None

            def revoke(issuer_id: int, serial: int) -> None:
                told.write(f"{issuer_id} {serial}\n")
                told.flush()
                assert heard.readline().strip() == str(serial)

            yield revoke
            told.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Of the two servers that there are, each host runs one."""
    with tempfile.TemporaryDirectory(prefix="pkiconf-site-") as name, ExitStack() as opened:
        folder = Path(name)
        hosts = opened.enter_context(fleet(folder, "fsync=off"))
        tokens = Tokens()
        dns = opened.enter_context(name_server(address=WIRE))
        http = opened.enter_context(challenge_responder(tokens, address=WIRE))
        renewed = "\n  ".join(_RENEWED.format(name=one) for one in SERVICES)
        text = DECLARATION.format(base_url=BASE_URL, wire=WIRE, dns=dns, http=http, renewed=renewed)
        (folder / "pki.yaml").write_text(text)
        settings = ProcessSettings(
            state=folder / "third", database_url=hosts.url,
            master_key_file=Path(hosts.settings["PKICONF_MASTER_KEY_FILE"]),
        )  # fmt: skip
        services = opened.enter_context(open_services(settings, create=True))
        apply_here(services, folder / "pki.yaml", {"TEST_PASSPHRASE": PASSPHRASE})
        for one, server in ((hosts.a, "gunicorn"), (hosts.b, "granian")):
            opened.enter_context(one.serving("--server", server))
        yield Site(hosts, folder, services, tokens)
        for one in (hosts.a, hosts.b):
            for tree in one.running_there:
                assert "Traceback" not in tree.text, tree.text
