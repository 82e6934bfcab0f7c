"""Text that ansible-vault made, and text that it did not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pkiconf.errors import Malformed, PkiconfError, Unavailable, Unverified
from pkiconf.spec.vault import Vault, parse_vault_text, read_password

# Made by ansible-core 2.18 under the password "correct horse".
V11 = b"""$ANSIBLE_VAULT;1.1;AES256
35313037373666343131333164633837626662306332636364656433386232393462646637646632
3638633162323331353366643366356666333939383235370a653439663135666638363730623736
36396135333532623032643336616430666665666162313632626333656437346537383262326131
6232383961636533310a336362363632633162333839646639303539396363643434663636653138
3232
"""
V12 = b"""$ANSIBLE_VAULT;1.2;AES256;prod
65396231363433646531663338363430663435343861616236653939613066346465343063373635
6164653737393361373533386566386261343739663333340a653864396536633930663439623932
36656336373563616631323132653466303331306162636339626230323733613334363437333132
6135383335653362620a636466663264373162653736643966333631356337326363333430633261
6432
"""


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    return path


@pytest.mark.parametrize("text", [V11, V12, V11.replace(b"\n", b"\r\n"), b"   " + V11.replace(b"\n", b"\n   ")])
def test_what_ansible_vault_made(password: Path, text: bytes) -> None:
    assert Vault(password).decrypt(text) == b"hunter2"


def test_a_command_prints_the_password(tmp_path: Path) -> None:
    command = tmp_path / "password.sh"
    command.write_text("#!/bin/sh\necho correct horse\n")
    command.chmod(0o700)
    assert Vault(command).decrypt(V11) == b"hunter2"


def test_the_password_is_read_once(tmp_path: Path) -> None:
    command = tmp_path / "password.sh"
    command.write_text(f"#!/bin/sh\necho x >> {tmp_path}/asked\necho correct horse\n")
    command.chmod(0o700)
    vault = Vault(command)
    assert vault.decrypt(V11) == vault.decrypt(V12)
    assert (tmp_path / "asked").read_text() == "x\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "ended with exit code 3"),
        ("echo", "gave nothing"),
        ("exec /nowhere", "ended with exit code"),
    ],
)
def test_a_command_that_fails(tmp_path: Path, script: str, said: str) -> None:
    command = tmp_path / "password.sh"
    command.write_text(f"#!/bin/sh\n{script} 2>/dev/null\n")
    command.chmod(0o700)
    with pytest.raises(Unavailable, match=said):
        read_password(command)


def test_no_command_where_there_is_no_interpreter(tmp_path: Path) -> None:
    command = tmp_path / "password.sh"
    command.write_text("correct horse")
    command.chmod(0o700)
    with pytest.raises(Unavailable, match="cannot be read"):
        read_password(command)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_password_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        read_password(tmp_path / name)


def test_without_a_password() -> None:
    with pytest.raises(Unavailable, match="PKICONF_VAULT_PASSWORD_FILE"):
        Vault(None).decrypt(V11)


def test_another_password(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("wrong horse")
    with pytest.raises(Unverified) as caught:
        Vault(path).decrypt(V11)
    assert "wrong horse" not in str(caught.value)


def test_every_changed_digit_is_noticed(password: Path) -> None:
    vault = Vault(password)
    lines = V11.splitlines()
    for number in range(1, len(lines)):
        for digit in (1, len(lines[number]) - 1):
            line = bytearray(lines[number])
            line[digit] = ord("1") if line[digit] != ord("1") else ord("2")
            changed = b"\n".join([*lines[:number], bytes(line), *lines[number + 1 :]])
            with pytest.raises((Unverified, Malformed)):
                vault.decrypt(changed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "does not begin with"),
        (b"hunter2", "does not begin with"),
        (b"$ANSIBLE_VAULT;1.0;AES\n3131", "format 1.0;AES is not known"),
        (b"$ANSIBLE_VAULT;1.1;AES128\n3131", "format 1.1;AES128 is not known"),
        (b"$ANSIBLE_VAULT\n3131", "is not known"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n", "cut off or damaged"),
        (b"$ANSIBLE_VAULT;1.1;AES256\nzz", "cut off or damaged"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n313", "cut off or damaged"),
        (V11[:200], "cut off or damaged"),
    ],
)
def test_what_is_not_vault_text(text: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        parse_vault_text(text)


def test_padding_is_checked(password: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right MAC over ciphertext that ends wrong: nothing that ansible-vault makes."""
    import binascii
    import hashlib
    import hmac

    salt = b"s" * 32
    keys = hashlib.pbkdf2_hmac("sha256", b"correct horse", salt, 10_000, 80)
    for ciphertext in (b"", b"x" * 16):
        mac = hmac.digest(keys[32:64], ciphertext, "sha256")
        inner = b"\n".join(binascii.hexlify(part) for part in (salt, mac, ciphertext))
        with pytest.raises(PkiconfError, match="padding is wrong"):
            Vault(password).decrypt(b"$ANSIBLE_VAULT;1.1;AES256\n" + binascii.hexlify(inner))


def test_an_executable_folder_is_no_command(tmp_path: Path) -> None:
    assert stat.S_IMODE(tmp_path.stat().st_mode) & stat.S_IXUSR
    with pytest.raises(Unavailable):
        read_password(tmp_path)
