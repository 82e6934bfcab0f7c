"""What a newcomer does: `up`, then the printed commands, pasted as they are; then an edit, then Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from tests.ports import free_port
from tests.serving.running import ROOT, Installation, Running
from tests.tools import find_tool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fresh, with the quickstart on a port of its own."""
    port = free_port()
    text = (ROOT / "examples" / "quickstart.yaml").read_text()
    assert "base_url: http://127.0.0.1:8000" in text
    (tmp_path / "quickstart.yaml").write_text(text.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    (tmp_path / "port").write_text(str(port))
    return tmp_path


def up(folder: Path, *more: str) -> tuple[Installation, tuple[str, ...], tuple[str, ...]]:
    program = str(Path(sys.executable).with_name("pkiconf"))
    assert Path(program).exists()
    bind = f"127.0.0.1:{(folder / 'port').read_text()}"
    return Installation(folder), (program,), (*more, "up", "quickstart.yaml", "--bind", bind)


def printed_commands(tree: Running) -> list[str]:
    tree.wait_for(r"Try it in a second terminal[^\n]*\n(\n|  [^\n]*\n?)*.*openssl crl.*")
    lines = tree.text.split("Try it in a second terminal", 1)[1].splitlines()[1:]
    return [line.removeprefix("  ") for line in lines if line.startswith("  ")]


def paste(folder: Path, commands: list[str]) -> str:
    """Everything that is printed in a second terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PKICONF_", "PROMETHEUS_"))}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail"], input="\n".join(commands) + "\n", cwd=folder, env=kept, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.row("F131")
@pytest.mark.row("F136")
@pytest.mark.parametrize("state", [(), ("--state", "some where/state")], ids=["default", "state elsewhere"])
def test_the_printed_commands_do_what_they_say(folder: Path, state: tuple[str, ...]) -> None:
    for tool in ("openssl", "curl", "bash"):
        find_tool(tool)
    installation, program, words = up(folder, *state)
    with installation.running(*words, program=program) as tree:
        commands = printed_commands(tree)
        assert any("request sign 1 " in command for command in commands)
        said = paste(folder, commands)
        assert "web.pem: OK" in said
        assert "Response verify OK" in said
        assert "web.pem: revoked" in said
        assert "keyCompromise" in said
        assert "Key Compromise" in said  # the CRL's entry
        leaf = x509.load_pem_x509_certificate((folder / "web.pem").read_bytes())
        assert f"{leaf.serial_number:X}" in said
        assert tree.end(signal.SIGINT) == 0
    assert (folder / ".pkiconf").is_dir() != bool(state)


def test_edits_are_applied_and_broken_ones_change_nothing(folder: Path) -> None:
    installation, program, words = up(folder)
    declaration = folder / "quickstart.yaml"
    with installation.running(*words, program=program) as tree:
        tree.wait_for("Try it in a second terminal")
        good = declaration.read_text()
        declaration.write_text(good.replace("max_validity: 398d", "max_validity: 100d"))
        tree.wait_for(r"template/corp-issuing/web-server.*update")
        tree.wait_for(r"max_validity: 398d → 100d|max_validity.*100d")
        tree.wait_for(r"^watch: .*changed=1")

        broken = declaration.read_text().replace("starter: web-server", "starter: web-servant")
        line = next(number for number, text in enumerate(broken.splitlines(), 1) if "web-servant" in text)
        declaration.write_text(broken)
        told = tree.wait_for(rf"quickstart\.yaml:{line}:\d+.*")
        assert "nothing has changed" in tree.text
        assert re.search(r"quickstart\.yaml:\d+:\d+", told)
        tree.wait_for("web-server")  # the nearest spelling

        declaration.write_text(good.replace("max_validity: 398d", "max_validity: 99d"))
        tree.wait_for(r"99d")
        assert tree.end(signal.SIGINT) == 0
        assert "Traceback" not in tree.text


def test_a_declaration_that_is_wrong_from_the_start_starts_nothing(folder: Path) -> None:
    (folder / "quickstart.yaml").write_text("authorities: [{name: x, nonsense: 1}]\n")
    installation, program, words = up(folder)
    with installation.running(*words, program=program) as tree:
        assert tree.process.wait(60) == 1
        tree._reader.join(10)
        assert re.search(r"quickstart\.yaml:1:\d+", tree.text)
        assert not tree.processes()


def test_ctrl_c_before_it_has_started(folder: Path) -> None:
    installation, program, words = up(folder)
    with installation.running(*words, program=program) as tree:
        tree.wait_for(r"Plan: |changed: ")
        tree.process.send_signal(signal.SIGINT)
        assert tree.process.wait(60) in (0, 130)
        assert "Traceback" not in tree.text
    with installation.running(*words, program=program) as tree:
        tree.wait_for("Try it in a second terminal")
        assert tree.end(signal.SIGTERM) == 0
