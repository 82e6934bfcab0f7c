"""Text made by ansible-vault, formats 1.1 and 1.2.

A header line `$ANSIBLE_VAULT;1.1;AES256` (1.2 adds `;label`), then hexadecimal digits that stand for three lines of
hexadecimal digits again: salt, HMAC-SHA256 of the ciphertext, ciphertext (AES-256-CTR, PKCS #7 padding).
The keys come from PBKDF2-HMAC-SHA256 with 10,000 rounds: 32 octets cipher key, 32 octets MAC key, 16 octets counter.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import stat
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from pkiconf.errors import Malformed, Unavailable, Unverified
from pkiconf.model.secret import Secret

HEADER: Final = b"$ANSIBLE_VAULT;"
_ROUNDS: Final = 10_000
_HINT: Final = "Make it anew with ansible-vault encrypt_string"
_COMMAND_SECONDS: Final = 60


class Vault:
    """Decrypts under the password in a file; an executable file is a command that prints it."""

    def __init__(self, password_file: Path | None) -> None:
        self.password_file = password_file

    def decrypt(self, text: bytes) -> bytes:
        """Raises Malformed for text that is not of ansible-vault, Unverified under a wrong password, Unavailable
        without one."""
        salt, mac, ciphertext = parse_vault_text(text)
        keys = hashlib.pbkdf2_hmac("sha256", self._password.reveal(), salt, _ROUNDS, 80)
        if not hmac.compare_digest(hmac.digest(keys[32:64], ciphertext, "sha256"), mac):
            raise Unverified(
                f"the vault text was not made with the password of {self.password_file}, or was changed since",
                "Check PKICONF_VAULT_PASSWORD_FILE",
            )
        decryptor = Cipher(AES256(keys[:32]), CTR(keys[64:])).decryptor()
        return _unpadded(decryptor.update(ciphertext) + decryptor.finalize())

    @cached_property
    def _password(self) -> Secret:
        if self.password_file is None:
            raise Unavailable(
                "the vault's password is not known",
                "Name its file in PKICONF_VAULT_PASSWORD_FILE or --vault-password-file",
            )
        return read_password(self.password_file)


def parse_vault_text(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Salt, MAC and ciphertext. Raises Malformed."""
    lines = text.strip().splitlines()
    header = lines[0].strip().split(b";") if lines else []
    if not header or header[0] != b"$ANSIBLE_VAULT":
        raise Malformed("this is not ansible-vault text: it does not begin with $ANSIBLE_VAULT", _HINT)
    if header[1:3] not in ([b"1.1", b"AES256"], [b"1.2", b"AES256"]):
        shown = b";".join(header[1:3]).decode("ascii", "replace")
        raise Malformed(f"ansible-vault format {shown} is not known, 1.1 and 1.2 with AES256 are", _HINT)
    try:
        inner = binascii.unhexlify(b"".join(line.strip() for line in lines[1:])).split(b"\n", 2)
        salt, mac, ciphertext = (binascii.unhexlify(part) for part in inner)
    except ValueError:
        raise Malformed("the ansible-vault text is cut off or damaged", _HINT) from None
    return salt, mac, ciphertext


def read_password(path: Path) -> Secret:
    """The first and only line of a file, or what it prints if it may be executed. Raises Unavailable."""
    path = path.expanduser()
    try:
        mode = path.stat().st_mode
        is_command = stat.S_ISREG(mode) and os.access(path, os.X_OK)
        content = _printed_by(path) if is_command else path.read_bytes()
    except OSError as ex:
        raise Unavailable(f"the vault password file {path} cannot be read: {ex.strerror or ex}") from None
    password = content.strip()
    if not password:
        raise Unavailable(f"the vault password {'command' if is_command else 'file'} {path} gave nothing")
    return Secret(password)


def _printed_by(path: Path) -> bytes:
    try:
        done = subprocess.run([path.absolute()], stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the vault password command {path} ran longer than {_COMMAND_SECONDS} seconds") from None
    if done.returncode != 0:
        raise Unavailable(f"the vault password command {path} ended with exit code {done.returncode}")
    return done.stdout


def _unpadded(padded: bytes) -> bytes:
    count = padded[-1] if padded else 0
    if not 1 <= count <= 16 or padded[-count:] != bytes([count]) * count:
        raise Malformed("the ansible-vault text is damaged: its padding is wrong", _HINT)
    return padded[:-count]
