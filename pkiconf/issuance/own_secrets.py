"""Secrets that an installation makes for itself, sealed in its database so that all its hosts share them."""

from __future__ import annotations

from collections.abc import Callable

from pkiconf.errors import Unavailable
from pkiconf.model.secret import Secret
from pkiconf.signing.keyring import Keyring, secret_identity
from pkiconf.steps import Step
from pkiconf.store import keys
from pkiconf.store.database import Connection, Database


def own_secret(db: Database, keyring: Keyring, name: str, make: Callable[[], bytes], *, create: bool) -> Secret:
    """The secret of that name; made, with `create`, where there is none. Raises Unavailable where there is none."""
    row = db.read(lambda c: keys.find_secret(c, name))
    if row is None:
        if not create:
            raise Unavailable(f"the database holds no {name} secret", "Run `pkiconf apply` to finish setting it up")
        sealed = keyring.seal(secret_identity(name), make())

        def write(c: Connection) -> None:
            keys.add_secret(c, name, sealed.blob, sealed.wrapping_key_id)

        db.write(Step.KEYSTORE_CREATE, write)
        # Another process may have been first; what is stored is what counts.
        row = db.read(lambda c: keys.find_secret(c, name))
        assert row is not None
    return keyring.unseal(secret_identity(name), row.sealed, row.wrapping_key_id)
