"""Programs of strangers that judge what we make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest


def run_tool(*command: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, whatever it says. A missing one skips the test; with `CI=true` it fails it."""
    program = find_tool(str(command[0]))
    return subprocess.run([program, *map(str, command[1:])], input=stdin, capture_output=True, timeout=120)


def find_tool(name: str) -> str:
    beside_python = Path(sys.executable).with_name(name)
    found = (
        str(beside_python)
        if beside_python.exists()
        else shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    )
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


@lru_cache(maxsize=1)
def openssl_knows_ml_dsa() -> bool:
    """From version 3.5 on."""
    program = shutil.which("openssl")
    listed = subprocess.run([program, "list", "-signature-algorithms"], capture_output=True) if program else None
    return listed is not None and b"ML-DSA-65" in listed.stdout


def accepted(result: subprocess.CompletedProcess[bytes]) -> str:
    """Everything the program printed; fails the test unless it ended with 0."""
    text = (result.stdout + result.stderr).decode(errors="replace")
    assert result.returncode == 0, text
    return text
