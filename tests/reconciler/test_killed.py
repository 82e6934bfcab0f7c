"""The process that applies is killed at each kill point, and the next apply finishes the work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pkiconf.steps import KILL_VARIABLE, Step
from tests.reconciler.conftest import Installation, installed

BEFORE = """
settings: { base_url: "http://pki.example" }
authorities:
  - { name: root, key: { curve: p256 }, default_templates: [] }
  - { name: issuing, issuer: root, key: { curve: p256 } }
  - { name: old, key: { curve: p256 } }
  - { name: gone, key: { curve: p256 }, default_templates: [] }
templates:
  - { name: web, authority: issuing }
  - { name: vpn, authority: issuing }
"""
# Creates, updates, renews, rolls over, replaces, renames and retires.
AFTER = """
settings: { base_url: "http://pki.other.example" }
authorities:
  - { name: root, key: { curve: p256 }, default_templates: [], validity: 12y }
  - { name: issuing, issuer: root, key: { curve: p256, generation: 2 }, rollover: { cross_certificates: true } }
  - { name: new, moved: old, key: { curve: p256 }, subject: { common_name: Other } }
  - { name: gone, state: absent }
  - { name: added, issuer: root, key: { type: ed25519 } }
templates:
  - { name: www, authority: issuing, moved: web, validity: 30d }
  - { name: vpn, authority: issuing, state: absent }
  - { name: device, authority: issuing, starter: device }
"""
ALLOW = ("rollover", "replace", "retire")

REACHED = (
    Step.APPLY_LEASE,
    Step.APPLY_RECORD,
    Step.SETTINGS_WRITE,
    Step.AUTHORITY_CREATE,
    Step.AUTHORITY_UPDATE,
    Step.AUTHORITY_ROLLOVER,
    Step.AUTHORITY_RETIRE,
    Step.TEMPLATE_WRITE,
    Step.TEMPLATE_RETIRE,
    Step.CERTIFICATE_RESERVE,
    Step.CERTIFICATE_COMPLETE,
    Step.SERVICE_CERTIFICATE,
    Step.JOB_FINISH,
)


@pytest.fixture(scope="module")
def before(migrated_sqlite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the state that every case starts from."""
    folder = tmp_path_factory.mktemp("before")
    (folder / "state").mkdir(mode=0o700)
    shutil.copy(migrated_sqlite_file, folder / "state")
    for installation in installed(None, folder):
        installation.settle(BEFORE)
    return folder


def run(folder: Path, kill_at: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("apply_once.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), KILL_VARIABLE: kill_at}
    arguments = [str(folder / "state"), str(folder / "pki.yaml"), *ALLOW]
    return subprocess.run([sys.executable, str(script), *arguments], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("step", REACHED)
def test_killed_and_finished(before: Path, tmp_path: Path, step: Step, side: str) -> None:
    folder = tmp_path / "pki"
    shutil.copytree(before, folder)
    (folder / "pki.yaml").write_text(AFTER)
    died = run(folder, f"{step}:{side}")
    assert died.returncode == -signal.SIGKILL, died.stderr
    for installation in installed(None, folder):
        finish(installation)


def finish(installation: Installation) -> None:
    installation.settle(AFTER, *ALLOW)
    states = installation.row("issuer", "authority_id, generation, state")
    assert all(state in ("active", "retiring") for _, _, state in states)
    assert len([state for _, _, state in states if state == "active"]) == 5
    assert installation.row("certificate", "status", "status NOT IN ('good', 'revoked')") == []
    assert installation.row("job", "kind", "kind = 'authority.establish'") == []
    names = sorted(name for (name,) in installation.row("authority", "name"))
    assert names == ["added", "gone", "issuing", "new", "root"]
