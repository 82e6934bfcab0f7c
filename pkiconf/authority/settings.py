"""The declared settings of the PKI: one row, written as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pkiconf.authority.declared import Guard, canonical, digest, unguarded
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.policy.authorization import Action, check_may
from pkiconf.signing.keyring import secret_identity
from pkiconf.spec.settings import Settings
from pkiconf.steps import Step
from pkiconf.store import keys, settings
from pkiconf.store.database import Connection

NAME: Final = "settings"
MAIL_PASSWORD: Final = "mail-password"  # noqa: S105 - the name it is sealed under


class DeclaredSettings:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def write(
        self,
        spec: Mapping[str, Any],
        owner: str,
        generation: int | None,
        actor: Actor,
        guard: Guard = unguarded,
        *,
        password: Secret | None = None,
    ) -> None:
        """Replace the settings (`spec` is whole and JSON-able; in the place of a password it holds a mark).
        `generation` is the row's, None for the first ones. `password` is the mail server's, None if it stays; it is
        forgotten when no password is declared any more.

        Raises Conflict when the row has moved, pydantic's ValidationError for what are no settings.
        """
        check_may(actor, Action.SETTINGS_UPDATE, NAME)
        wish = Settings.model_validate(dict(spec))
        keeps = wish.mail is not None and wish.mail.password is not None
        sealed = self._parts.keyring.seal(secret_identity(MAIL_PASSWORD), password.reveal()) if password else None
        text = canonical(dict(spec))

        def write(c: Connection) -> None:
            guard(c)
            settings.put_setting(c, NAME, spec=text, spec_digest=digest(text), owner=owner, generation=generation)
            if sealed is not None:
                keys.put_secret(c, MAIL_PASSWORD, sealed.blob, sealed.wrapping_key_id)
            elif not keeps:
                keys.delete_secret(c, MAIL_PASSWORD)
            self._parts.record(c, actor, "settings.update", NAME, {"spec": digest(text)})

        self._parts.db.write(Step.SETTINGS_WRITE, write)

    def read(self) -> Settings:
        """What stands; the defaults before anything was applied."""
        row = self._parts.db.read(lambda c: settings.find_setting(c, NAME))
        return Settings.model_validate(json.loads(row.spec)) if row else Settings()
