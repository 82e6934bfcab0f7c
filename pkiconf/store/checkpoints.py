"""Checkpoints: signed statements of how large the audit tree was and what its root was.

Each also goes into a file of the state folder, one JSON object a line, so that a copy of the database whose last
records were cut off together with their checkpoints can be told from the real one.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam, select

from pkiconf.errors import Malformed, Unavailable
from pkiconf.steps import Step, kill_point
from pkiconf.store.database import Connection
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import audit_checkpoint

FILE_NAME: Final = "audit-checkpoints"
_TAIL: Final = 4096  # more than a line


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`at` is epoch seconds; `signature` is Ed25519's over `message`."""

    size: int
    root_hash: bytes
    at: int
    signature: bytes

    @property
    def message(self) -> bytes:
        return checkpoint_message(self.size, self.root_hash, self.at)

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at,
            "root": self.root_hash.hex(),
            "signature": self.signature.hex(),
            "size": self.size,
        }


_COLUMNS: Final = select(
    audit_checkpoint.c.size, audit_checkpoint.c.root_hash, audit_checkpoint.c.at, audit_checkpoint.c.signature
)
_LAST: Final = Prepared(_COLUMNS.order_by(audit_checkpoint.c.size.desc()).limit(1), Checkpoint)
_AFTER: Final = Prepared(
    _COLUMNS.where(audit_checkpoint.c.size > bindparam("size")).order_by(audit_checkpoint.c.size), Checkpoint
)
_ADD: Final[Prepared[Any]] = Prepared(inserting(audit_checkpoint))


def checkpoint_message(size: int, root_hash: bytes, at: int) -> bytes:
    """The very bytes that are signed: four lines of text."""
    return f"pkiconf audit checkpoint 1\n{size}\n{base64.b64encode(root_hash).decode()}\n{at}\n".encode()


def find_last_checkpoint(c: Connection) -> Checkpoint | None:
    return _LAST.find(c)


def list_checkpoints(c: Connection, after_size: int = 0) -> list[Checkpoint]:
    """By size, those larger than `after_size`."""
    return _AFTER.all(c, {"size": after_size})


def add_checkpoint(c: Connection, checkpoint: Checkpoint) -> None:
    _ADD.count(
        c,
        {
            "size": checkpoint.size,
            "root_hash": checkpoint.root_hash,
            "at": checkpoint.at,
            "signature": checkpoint.signature,
        },
    )


def read_file(state: Path) -> list[Checkpoint]:
    """The checkpoints of the state folder's file, in its order; none when there is no file.

    A last line without its end is what a crash left of a write, and is passed over. Raises Malformed with the line's
    number for any other that cannot be read; Unavailable when the file cannot.
    """
    path = state / FILE_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from None
    lines = text.split(b"\n")[:-1]
    return [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line]


def append_to_file(state: Path, checkpoint: Checkpoint) -> bool:
    """Add the checkpoint unless the file's last one is as large; False then. Durable on return. Raises Unavailable."""
    path = state / FILE_NAME
    line = json.dumps(checkpoint.to_json(), sort_keys=True).encode() + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as handle:
            tail = _tail(handle.fileno())
            if _last_size(tail) >= checkpoint.size:
                return False
            kill_point(Step.AUDIT_CHECKPOINT_FILE, "before")
            # A line that a crash left unfinished is ended first.
            handle.write(line if tail.endswith(b"\n") or not tail else b"\n" + line)
            os.fsync(handle.fileno())
    except OSError as error:
        raise Unavailable(
            f"cannot write {path}: {error.strerror}", "Check the state folder's owner and space"
        ) from None
    kill_point(Step.AUDIT_CHECKPOINT_FILE, "after")
    return True


def _tail(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _TAIL, max(0, size - _TAIL))


def _last_size(tail: bytes) -> int:
    for line in reversed(tail.split(b"\n")[:-1]):
        try:
            return _parse(line, FILE_NAME).size
        except Malformed:
            continue
    return 0


def _parse(line: bytes, where: str) -> Checkpoint:
    try:
        value: Mapping[str, Any] = json.loads(line)
        size, at = value["size"], value["at"]
        if type(size) is not int or type(at) is not int:
            raise TypeError
        return Checkpoint(size, bytes.fromhex(value["root"]), at, bytes.fromhex(value["signature"]))
    except (ValueError, TypeError, KeyError):
        raise Malformed(f"{where} is no checkpoint", "Something else wrote into this file") from None
