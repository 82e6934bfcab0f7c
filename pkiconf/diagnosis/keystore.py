"""The master key, and everything that is sealed under it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pkiconf.authority.rekey import unseal_row
from pkiconf.diagnosis.finding import Finding, error, ok, warning
from pkiconf.errors import PkiconfError
from pkiconf.signing.keyring import Keyring
from pkiconf.signing.master import FileSource, MasterKeys
from pkiconf.store import keys, wrapping
from pkiconf.store.database import Database

MASTER_KEY: Final = "master key"
KEYS: Final = "keys"


def check_master_keys(master: MasterKeys, db: Database) -> Iterator[Finding]:
    fine = True
    source = master.source
    if (
        isinstance(source, FileSource)
        and db.path is not None
        and source.path.parent.resolve() == db.path.parent.resolve()
    ):
        fine = False
        yield warning(
            MASTER_KEY, f"{source.path} lies beside the database: whoever copies the folder has every private key",
            "Move it to another disk or into a vault, and set PKICONF_MASTER_KEY_FILE or PKICONF_MASTER_KEY_COMMAND",
        )  # fmt: skip
    if len(master.keys) > 1:
        fine = False
        yield warning(MASTER_KEY, f"{source} gives {len(master.keys)} keys: a change of it is unfinished",
                      "Finish it with `pkiconf keystore rekey`")  # fmt: skip
    if fine:
        yield ok(MASTER_KEY, f"{master.current_id} from {source}")


def check_keys(keyring: Keyring, db: Database) -> Iterator[Finding]:
    """Open everything that is sealed, and see that each key is the one its row describes."""
    rows, secrets, bindings = db.read(
        lambda c: (keys.list_keys(c), wrapping.find_sealed_secrets(c), wrapping.list_sealed_bindings(c))
    )
    sealed = [row for row in rows if row.sealed is not None]
    bad = 0
    for row in sealed:
        try:
            keyring.open(row.id, row.spki_sha256, row.algorithm, row.sealed, row.wrapping_key_id)
        except PkiconfError as ex:
            bad += 1
            yield error(KEYS, f"key {row.id} ({row.algorithm}): {ex.detail}", ex.hint or "Restore it from a backup")
    for secret in (*secrets, *bindings):
        try:
            unseal_row(keyring, secret)
        except PkiconfError as ex:
            bad += 1
            what = f"secret {secret.name}" if secret.key_id is None else f"external account binding {secret.key_id}"
            yield error(KEYS, f"{what}: {ex.detail}", ex.hint or "Restore it from a backup")
    if not bad:
        yield ok(KEYS, f"{len(sealed)} private keys and {len(secrets) + len(bindings)} secrets open")
