"""What `up` prints when it answers, beside the commands that other tests paste."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pkiconf.cli.welcome import welcome
from pkiconf.settings import ProcessSettings
from tests.cli.conftest import CommandLine, clean_environment
from tests.world import World

BASE = "http://127.0.0.1:8011"
PKI = f"""
settings: {{ base_url: "{BASE}" }}
authorities: [{{ name: root }}, {{ name: issuing, issuer: root, key: {{ type: rsa, size: 2048 }} }}]
templates:
  - {{ name: device, authority: issuing, starter: device, scep: {{ enabled: true, challenges: true }} }}
  - name: laptop
    authority: issuing
    starter: device
    scep: {{ enabled: true, ndes: {{ enabled: true, basic_auth: {{ username: mdm, password: "a long password" }} }} }}
  - {{ name: asleep, authority: issuing, starter: device, enabled: false, scep: {{ enabled: true, challenges: true }} }}
acme_policies:
  - {{ name: internal, template: issuing/web-server }}
  - {{ name: gone, template: issuing/web-server, state: absent }}
"""


def said(world: World, bind: str = "127.0.0.1:8011") -> str:
    return welcome(world.services, ProcessSettings(bind=bind), "pkiconf")


def test_clients_are_told_where_they_begin(sqlite_world: World) -> None:
    sqlite_world.apply(PKI)
    text = said(sqlite_world)
    assert f"pkiconf answers at {BASE}  (Ctrl-C ends it)" in text
    assert re.findall(r"(\S+) +(http\S+/acme/\S+)", text) == [
        ("directory", f"{BASE}/acme/directory"),
        ("internal", f"{BASE}/acme/p/internal/directory"),
    ]
    assert re.findall(r"(SCEP|NDES) +(\S+)", text) == [
        ("SCEP", f"{BASE}/scep/issuing/device"),
        ("SCEP", f"{BASE}/scep/issuing/laptop"),
        ("NDES", f"{BASE}/certsrv/issuing/laptop/mscep_admin/"),
    ]
    assert "warning" not in text


def test_what_is_not_declared_is_not_shown(sqlite_world: World) -> None:
    sqlite_world.apply("authorities: [{ name: root }, { name: issuing, issuer: root }]")
    text = said(sqlite_world, "127.0.0.1:8000")
    assert "OCSP" in text
    assert not re.search("ACME|SCEP|NDES|warning", text)


def test_urls_that_lead_elsewhere_are_warned_of_in_one_line(sqlite_world: World) -> None:
    """What is written into certificates follows from the declaration, not from a flag of one process."""
    sqlite_world.apply("authorities: [{ name: root }, { name: issuing, issuer: root }]")
    (line,) = [line for line in said(sqlite_world).splitlines() if "warning" in line]
    assert line.startswith("warning: the URLs of certificates begin with http://127.0.0.1:8000, and this server")
    assert "Declare `settings: { base_url: http://127.0.0.1:8011 }`" in line


def in_folder(folder: Path, *words: str) -> str:
    """What a command of a person in that folder writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "pkiconf", *words], cwd=folder, capture_output=True, text=True, timeout=120,
        env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_the_state_of_a_folder_above_is_named(bare: CommandLine) -> None:
    """It is found without being asked for: `plan`, `apply` and `up` say which it is."""
    (bare.folder / "below").mkdir()
    (bare.folder / "pki.yaml").write_text("authorities: [{ name: ca, key: { curve: p256 } }]")
    here = in_folder(bare.folder, "apply", "pki.yaml", "--yes")
    assert "state" not in here
    for words in (("apply", "../pki.yaml", "--yes"), ("plan", "../pki.yaml")):
        assert f"pkiconf: the state is in {bare.folder / '.pkiconf'}" in in_folder(bare.folder / "below", *words)
    chosen = in_folder(bare.folder / "below", "--state", "../.pkiconf", "plan", "../pki.yaml")
    assert "state" not in chosen
