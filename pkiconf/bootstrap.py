"""The only place that builds real parts: settings → Services."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from uuid import UUID

from pkiconf.clock import SystemClock
from pkiconf.der.verify import verify_signature
from pkiconf.egress.https import SharedHTTPS
from pkiconf.egress.network import SystemNetwork
from pkiconf.entropy import SystemEntropy
from pkiconf.errors import Unavailable
from pkiconf.issuance.own_secrets import own_secret
from pkiconf.issuance.parts import Parts
from pkiconf.model.keys import get_key_algorithm
from pkiconf.services import Services, make_services
from pkiconf.settings import MASTER_KEY_FILE, ProcessSettings
from pkiconf.signing.keyring import Keyring, secret_identity
from pkiconf.signing.local import LocalSigner, generate, load_sealed
from pkiconf.signing.master import (
    CommandSource,
    EnvironmentSource,
    FileSource,
    MasterKeySource,
    create_master_key_file,
    load_master_keys,
    reloader,
)
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.store import keys, migrate
from pkiconf.store.audit import CHECKPOINT_NAME, MAC_NAME, AuditLog
from pkiconf.store.database import Database, database_file, open_database
from pkiconf.wake import wake_worker


class OpenServices(AbstractContextManager[Services]):
    """Services whose database and connections are closed at the end of a `with` block."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def __enter__(self) -> Services:
        return self.services

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.services.close()


def open_services(settings: ProcessSettings, *, create: bool = False) -> OpenServices:
    """Open what is there; with `create`, make the state folder, the database and a master key where there are none.

    Raises Unavailable: no state yet, a schema of another version, a master key that is missing or another one.
    """
    state = settings.state_folder
    if create:
        make_state_folder(state)
    elif not state.is_dir():
        raise Unavailable(f"there is no state folder at {state}", "Run `pkiconf up` or `pkiconf apply` first")
    elif missing := missing_database(settings):
        raise Unavailable(f"there is no database at {missing}", "Run `pkiconf up` or `pkiconf apply` first")
    db = open_state_database(settings)
    try:
        if create:
            migrate.upgrade(db)
        else:
            migrate.check_schema(db)
        keyring = open_keyring(settings, db, create=create)
        audit = AuditLog(own_secret(db, keyring, MAC_NAME, _random, create=create))
        checkpoint = load_sealed(own_secret(db, keyring, CHECKPOINT_NAME, _ed25519, create=create).reveal())
    except BaseException:
        db.close()
        raise
    wake = functools.partial(wake_worker, state)
    parts = Parts(db, keyring, audit, SystemClock(), SystemEntropy(), wake, state)
    sign = functools.partial(_sign_checkpoint, checkpoint)
    network, waiting_places = SystemNetwork(parts.entropy), settings.threads // 2
    return OpenServices(make_services(parts, sign, network, SharedHTTPS(), waiting_places=waiting_places))


def make_state_folder(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as ex:
        raise Unavailable(
            f"the state folder {state} cannot be made: {ex.strerror}", "Choose another with --state"
        ) from ex


def missing_database(settings: ProcessSettings) -> Path | None:
    """The file of the database where it is not there yet; opening would make it. A server is not asked."""
    url = settings.database_url
    file = database_file(url.get_secret_value() if url else None, settings.state_folder)
    return file if file is not None and not file.exists() else None


def open_state_database(settings: ProcessSettings) -> Database:
    url = settings.database_url
    return open_database(url.get_secret_value() if url else None, settings.state_folder)


def master_key_source(settings: ProcessSettings) -> MasterKeySource:
    """The command, else the variable, else the file."""
    if settings.master_key_command:
        return CommandSource(settings.command)
    if settings.master_key:
        return EnvironmentSource("PKICONF_MASTER_KEY")
    return FileSource(settings.master_key_file or settings.state_folder / MASTER_KEY_FILE)


def open_keyring(settings: ProcessSettings, db: Database, *, create: bool) -> Keyring:
    """The keyring over the configured master keys, which must open what the database holds.

    A master key is made only for a database that has nothing sealed yet: otherwise a lost file would be replaced by
    one that opens nothing.
    """
    source = master_key_source(settings)
    sealed_under = db.read(keys.wrapping_key_ids)
    if create and not sealed_under and isinstance(source, FileSource) and not source.path.exists():
        create_master_key_file(source.path, SystemEntropy())
    master = load_master_keys(source)
    if missing := sorted(sealed_under - set(master.ids)):
        raise Unavailable(
            f"this database is sealed under master key {', '.join(missing)}, "
            f"but {source} gives {', '.join(master.ids)}",
            "Point pkiconf at the master key that belongs to this database; nothing was changed",
        )
    return Keyring(master, reloader(source))


def _random() -> bytes:
    return SystemEntropy().token(32)


def _ed25519() -> bytes:
    return generate(get_key_algorithm("ed25519"))[0]


def checkpoint_verifier(parts: Parts) -> Callable[[bytes, bytes], None]:
    """What `audit_verify.verify` calls: raises Unverified unless this installation signed the message.

    Raises NotFound for a database that has no checkpoint key yet.
    """
    row = parts.db.read(lambda c: keys.get_secret(c, CHECKPOINT_NAME))
    opened = parts.keyring.unseal(secret_identity(CHECKPOINT_NAME), row.sealed, row.wrapping_key_id)
    signer = load_sealed(opened.reveal())
    return functools.partial(verify_signature, signer.public_key, signer.algorithms[0])


def _sign_checkpoint(signer: LocalSigner, message: bytes) -> bytes:
    order = SigningOrder(UUID(int=0), Kind.CHECKPOINT, message, signer.algorithms[0], SystemClock().now())
    return signer.sign(order)
