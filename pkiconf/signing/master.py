"""Master keys: what everything at rest is sealed under, and where they come from.

A source gives text: one key a line, 32 octets in base64, `#` starts a comment. The first key is the current one,
under which new things are sealed; the others only open what was sealed earlier, while a rekey is under way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pkiconf.entropy import Entropy
from pkiconf.errors import Unavailable
from pkiconf.model.secret import Secret
from pkiconf.signing.private_file import create_private_file, read_private_file, replace_private_file

KEY_SIZE: Final = 32
LARGEST_SOURCE: Final = 64 * 1024
_COMMAND_SECONDS: Final = 30
_HEADER: Final = (
    "# pkiconf master keys: the first one is current. Whoever has this file and the database has the keys.\n"
)


@dataclass(frozen=True, slots=True)
class FileSource:
    path: Path

    def __str__(self) -> str:
        return f"master key file {self.path}"


@dataclass(frozen=True, slots=True)
class EnvironmentSource:
    """The variable may hold several keys, separated by white space or commas."""

    variable: str

    def __str__(self) -> str:
        return f"environment variable {self.variable}"


@dataclass(frozen=True, slots=True)
class CommandSource:
    """A program and its arguments; what it prints is the source's text. No shell is involved."""

    command: tuple[str, ...]

    def __str__(self) -> str:
        # Arguments may hold what should not be shown.
        return f"master key command {self.command[0] if self.command else '(empty)'}"


MasterKeySource: TypeAlias = FileSource | EnvironmentSource | CommandSource


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """At least one key of 32 octets, no two alike; the first is current."""

    source: MasterKeySource
    keys: tuple[Secret, ...]

    @property
    def current(self) -> Secret:
        return self.keys[0]

    @property
    def current_id(self) -> str:
        return master_key_id(self.keys[0])

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(master_key_id(key) for key in self.keys)

    def find(self, wrapping_key_id: str) -> Secret | None:
        return next((key for key in self.keys if master_key_id(key) == wrapping_key_id), None)


def master_key_id(key: Secret) -> str:
    """Sixteen hex digits that name a master key and tell nothing about it."""
    return hashlib.sha256(b"pkiconf master key" + key.reveal()).digest()[:8].hex()


def load_master_keys(source: MasterKeySource, environment: Mapping[str, str] = os.environ) -> MasterKeys:
    """Read the source now. Raises Unavailable, saying which source and what is wrong with it, never what it holds."""
    match source:
        case FileSource(path):
            text = _decode(_read_file(path), str(source))
        case EnvironmentSource(variable):
            text = "\n".join(_read_variable(variable, environment).replace(",", " ").split())
        case CommandSource(command):
            text = _run(command)
    return MasterKeys(source, parse_master_keys(text, str(source)))


def reloader(source: MasterKeySource) -> Callable[[], MasterKeys]:
    """What a `Keyring` calls when it meets a key it does not know."""
    return lambda: load_master_keys(source)


def parse_master_keys(text: str, where: str) -> tuple[Secret, ...]:
    """The keys of a source's text, in order. Raises Unavailable with the line's number."""
    keys: list[Secret] = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            value = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            raise Unavailable(f"{where}, line {number}: not base64", "A master key is 32 octets in base64") from None
        if len(value) != KEY_SIZE:
            raise Unavailable(f"{where}, line {number}: {len(value)} octets", "A master key is 32 octets in base64")
        if any(key.matches(value) for key in keys):
            raise Unavailable(f"{where}, line {number}: the same key stands there twice", "Remove one of them")
        keys.append(Secret(value))
    if not keys:
        raise Unavailable(f"{where} holds no key", "A master key is 32 octets in base64, one a line")
    return tuple(keys)


def create_master_key_file(path: Path, entropy: Entropy) -> MasterKeys:
    """Make a file with one new key, mode 0600. Raises Conflict when the file exists, which is never overwritten."""
    keys = (Secret(entropy.token(KEY_SIZE)),)
    create_private_file(path, _encode(keys))
    return load_master_keys(FileSource(path))


def replace_master_key_file(path: Path, keys: tuple[Secret, ...]) -> None:
    """Put these keys, current first, in the place of what the file holds: all or nothing. Raises Unavailable."""
    replace_private_file(path, _encode(keys))


def _encode(keys: tuple[Secret, ...]) -> bytes:
    return (_HEADER + "".join(base64.b64encode(key.reveal()).decode() + "\n" for key in keys)).encode()


def _read_file(path: Path) -> bytes:
    try:
        return read_private_file(path, LARGEST_SOURCE + 1)
    except Unavailable:
        if path.exists():
            raise
        raise Unavailable(
            f"the master key file {path} does not exist",
            "Put it back from where you keep a copy of it, or name where it is: --master-key-file, "
            "PKICONF_MASTER_KEY_FILE. Without it nothing that is sealed can be opened, and a new one opens nothing",
        ) from None


def _read_variable(variable: str, environment: Mapping[str, str]) -> str:
    try:
        return environment[variable]
    except KeyError:
        raise Unavailable(f"environment variable {variable} is not set", "It should hold the master key") from None


def _run(command: tuple[str, ...]) -> str:
    where = str(CommandSource(command))
    if not command:
        raise Unavailable("the master key command is empty")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{where} gave no answer in {_COMMAND_SECONDS} seconds") from None
    except OSError as error:
        raise Unavailable(f"{where} cannot be started: {error.strerror}") from None
    if done.returncode:
        # Its output is not repeated: it may hold the key.
        raise Unavailable(f"{where} ended with code {done.returncode}", "Run it by hand to see why")
    return _decode(done.stdout, where)


def _decode(data: bytes, where: str) -> str:
    if len(data) > LARGEST_SOURCE:
        raise Unavailable(f"{where} gives more than {LARGEST_SOURCE} octets", "Is it the right one?")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise Unavailable(f"{where} is not text", "A master key is 32 octets in base64, one a line") from None
