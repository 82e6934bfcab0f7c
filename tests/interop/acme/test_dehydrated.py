"""dehydrated, a client in shell, set up word for word as its page says: obtains, renews, revokes; a wildcard."""

from __future__ import annotations

import functools
import http.server
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.acme.pages import shown
from tests.interop.acme.pki import PKI, run_client

_HOOK = """#!/bin/sh
set -eu
case "$1" in
deploy_challenge) echo "$4" >> "{records}/_acme-challenge.$2" ;;
clean_challenge) rm -f "{records}/_acme-challenge.$2" ;;
esac
"""


@dataclass(frozen=True)
class Dehydrated:
    """`folder` stands for /etc/dehydrated, `www` for what the web server gives out."""

    pki: PKI
    folder: Path
    www: Path

    def set_up(self, names: str, more: str = "") -> None:
        config = shown(self.pki, "dehydrated", "text", "/etc/dehydrated/config", {"/var/www/dehydrated": str(self.www)})
        more += f'CURL_OPTS="--cacert {self.pki.root}"\n'
        (self.folder / "config").write_text(config + more)
        domains = shown(
            self.pki, "dehydrated", "text", "/etc/dehydrated/domains.txt",
            {"web.corp.example www.web.corp.example": names},
        )  # fmt: skip
        (self.folder / "domains.txt").write_text(domains)

    def run(self, *words: str, check: bool = True) -> str:
        done = run_client(self.pki, "dehydrated", "--config", self.folder / "config", *words)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def file(self, name: str, file: str) -> Path:
        return self.folder / "certs" / name / f"{file}.pem"


@pytest.fixture
def dehydrated(pki: PKI, tmp_path: Path) -> Dehydrated:
    for folder in ("etc", "www"):
        (tmp_path / folder).mkdir()
    return Dehydrated(pki, tmp_path / "etc", tmp_path / "www")


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/.well-known/acme-challenge"))


@contextmanager
def web_server(port: int, folder: Path) -> Iterator[None]:
    """Gives out a folder at /.well-known/acme-challenge/."""
    handler = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def words_of(commands: str) -> list[tuple[str, ...]]:
    """What a page types, a command a line, without the program's name and comments."""
    lines = [line.partition("#")[0].split() for line in commands.splitlines()]
    assert all(line[0] == "dehydrated" for line in lines)
    return [tuple(line[1:]) for line in lines]


@pytest.mark.row("F113")
def test_its_page_is_true(dehydrated: Dehydrated) -> None:
    dehydrated.set_up("dehydrated.corp.example www.dehydrated.corp.example")
    commands = shown(
        dehydrated.pki, "dehydrated", "bash", "",
        {"/etc/dehydrated": str(dehydrated.folder), "web.corp.example": "dehydrated.corp.example"},
    )  # fmt: skip
    register, cron, revoke = words_of(commands)
    assert "Done!" in dehydrated.run(*register)
    leaf = dehydrated.file("dehydrated.corp.example", "fullchain")
    with web_server(dehydrated.pki.http, dehydrated.www):
        said = dehydrated.run(*cron)
        assert said.count("Challenge is valid!") == 2
        text = dehydrated.pki.verified(leaf, name="www.dehydrated.corp.example")
        assert "DNS:dehydrated.corp.example, DNS:www.dehydrated.corp.example" in text
        assert "NIST CURVE: P-256" in text
        assert "Skipping renew" in dehydrated.run(*cron)
        (dehydrated.folder / "config").write_text((dehydrated.folder / "config").read_text() + "RENEW_DAYS=100\n")
        assert "Renewing!" in dehydrated.run(*cron)
    assert dehydrated.pki.verified(leaf, name="www.dehydrated.corp.example") != text
    assert "pem-revoked" in dehydrated.run(*revoke)
    assert dehydrated.pki.is_revoked(next(leaf.parent.glob("cert-*.pem-revoked")), "issuing")
    assert not list(dehydrated.www.iterdir())


def test_a_wildcard_by_dns(dehydrated: Dehydrated) -> None:
    hook = dehydrated.folder / "hook.sh"
    hook.write_text(_HOOK.format(records=dehydrated.pki.records))
    hook.chmod(0o755)
    names = "*.dehydrated-wild.corp.example dehydrated-wild.corp.example > wild"
    dehydrated.set_up(names, f"CHALLENGETYPE=dns-01\nHOOK={hook}\n")
    dehydrated.run("--register", "--accept-terms")
    dehydrated.run("--cron")
    text = dehydrated.pki.verified(dehydrated.file("wild", "fullchain"), name="any.dehydrated-wild.corp.example")
    assert "DNS:*.dehydrated-wild.corp.example" in text
    assert not list(dehydrated.pki.records.glob("*dehydrated-wild*"))


def test_another_key_registers_nobody(dehydrated: Dehydrated) -> None:
    dehydrated.set_up("dehydrated.corp.example")
    config = (dehydrated.folder / "config").read_text()
    (dehydrated.folder / "config").write_text(config.replace(dehydrated.pki.hmac_key, secrets.token_urlsafe(32)))
    assert "unauthorized" in dehydrated.run("--register", "--accept-terms", check=False)


def test_a_name_that_is_refused_is_named(dehydrated: Dehydrated) -> None:
    dehydrated.set_up("dehydrated.elsewhere.example")
    dehydrated.run("--register", "--accept-terms")
    said = dehydrated.run("--cron", check=False)
    assert "rejectedIdentifier" in said
    assert "dehydrated.elsewhere.example" in said
    assert not dehydrated.file("dehydrated.elsewhere.example", "fullchain").exists()
