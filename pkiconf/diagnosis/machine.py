"""The machine under the installation: state folder, disk, engines."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pkiconf.diagnosis.finding import Finding, error, ok, warning
from pkiconf.signing.engines import find_missing

STATE: Final = "state folder"
ENGINES: Final = "engines"
_LITTLE_SPACE: Final = 256 << 20  # octets
_NO_SPACE: Final = 16 << 20


def check_state_folder(state: Path) -> Iterator[Finding]:
    if not state.is_dir():
        yield error(
            STATE, f"{state} is not there", "Run `pkiconf apply` or `pkiconf up` first, or name another --state"
        )
        return
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield error(STATE, f"{state} cannot be written by this user", "Run as its owner, or change its owner")
        return
    mode = stat.S_IMODE(state.stat().st_mode)
    if mode & 0o077:
        yield warning(STATE, f"{state} has mode {mode:04o}: others may look into it", f"chmod 700 {state}")
    free = shutil.disk_usage(state).free
    if free < _LITTLE_SPACE:
        make = error if free < _NO_SPACE else warning
        yield make(STATE, f"{free >> 20} MiB are free on the disk of {state}", "Free some space, or move the folder")
    if not mode & 0o077 and free >= _LITTLE_SPACE:
        yield ok(STATE, str(state))


def check_engines() -> Iterator[Finding]:
    """Whether keys of every kind can be made, used and checked here; post-quantum ones depend on the engine's build."""
    missing = find_missing()
    if missing:
        yield warning(
            ENGINES, f"no keys of type {', '.join(missing)} can be used on this machine",
            "Install a cryptography package whose OpenSSL has them: pip install --upgrade cryptography",
        )  # fmt: skip
    else:
        yield ok(ENGINES, "RSA, EC, EdDSA and ML-DSA keys can be made and used")
