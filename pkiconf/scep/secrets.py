"""Secrets of a template's `scep` block: written with the template, in its transaction, as digests or sealed.

What stands in the template's declaration is a mark that changes with the secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pkiconf.authority.telling import Telling, nowhere_to_tell
from pkiconf.clock import to_epoch
from pkiconf.errors import NotFound, Refused
from pkiconf.issuance.parts import Parts
from pkiconf.model.secret import Secret
from pkiconf.scep.credentials import ToldPassphrase
from pkiconf.scep.digests import Purpose, digest_of
from pkiconf.scep.passphrases import random_passphrase
from pkiconf.signing.keyring import Sealed, secret_identity
from pkiconf.spec.scep import SCEPSpec
from pkiconf.store import keys
from pkiconf.store import scep_secrets as store
from pkiconf.store.database import Connection
from pkiconf.store.scep_secrets import SecretKind

PASSPHRASE: Final = "scep.static_passphrase.secret"  # noqa: S105 - paths in a declaration
PASSWORD: Final = "scep.ndes.basic_auth.password"  # noqa: S105
CLIENT_SECRET: Final = "scep.intune.client_secret"  # noqa: S105

_KINDS: Final = {
    PASSPHRASE: SecretKind.PASSPHRASE,
    PASSWORD: SecretKind.BASIC_AUTH,
    CLIENT_SECRET: SecretKind.INTUNE,
}
_PURPOSES: Final = {SecretKind.PASSPHRASE: Purpose.PASSPHRASE, SecretKind.BASIC_AUTH: Purpose.BASIC_AUTH}
_NAME_OCTETS: Final = 12

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SecretWrites:
    """`write` is to be called in the template's transaction, with its id, and `show` once that is durable."""

    write: Callable[[Connection, int], None]
    show: Callable[[], None]


def changed_secrets(before: Spec | None, after: Spec | None) -> tuple[str, ...]:
    """The paths whose secrets have to be read to go from one declaration to the other."""
    return tuple(path for path in _KINDS if _at(after, path) is not None and _at(after, path) != _at(before, path))


def makes_passphrase(before: Spec | None, after: Spec | None) -> bool:
    """Whether a random passphrase is made on the way from one declaration to the other."""
    return _generates(after) and not _generates(before)


class TemplateSecrets:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def prepare(
        self, address: str, before: Spec | None, after: Spec, given: Mapping[str, Secret], telling: Telling | None
    ) -> SecretWrites:
        """What has to be written when a template goes from one declaration to another; `given` are the secrets that
        changed, by path. A random passphrase is kept where it is told before this returns.

        Raises Refused where there is nowhere to tell it, or a changed secret was not given.
        """
        told = self._fresh(address, before, after, telling)
        fresh = dict(given)
        if told is not None:
            fresh[PASSPHRASE] = told.passphrase
        missing = [path for path in changed_secrets(before, after) if path not in fresh]
        if missing:
            raise Refused(f"{', '.join(missing)} of {address} was not read", "Apply the YAML files themselves")
        sealed = {path: self._sealed(fresh[path]) for path in (CLIENT_SECRET,) if path in fresh}
        ended = tuple(kind for path, kind in _KINDS.items() if path not in fresh and _had(before, path, after))
        overlap = _overlap(after)
        now = to_epoch(self._parts.now())

        def write(c: Connection, template_id: int) -> None:
            for kind in ended:
                store.end_secrets(c, template_id, kind, now)
            for path, secret in fresh.items():
                until = now + overlap if path == PASSPHRASE else None
                self._put(c, template_id, _KINDS[path], secret, sealed.get(path), now, until)

        def show() -> None:
            if telling is not None and told is not None:
                telling.show(told)

        return SecretWrites(write, show)

    def reveal(self, template_id: int, kind: SecretKind) -> Secret:
        """The current secret that has to be told to others. Raises NotFound, Unavailable."""
        now = to_epoch(self._parts.now())

        def read(c: Connection) -> keys.SealedSecretRow | None:
            rows = store.list_accepted(c, template_id, kind, now)
            return keys.find_secret(c, rows[0].sealed_as) if rows and rows[0].sealed_as else None

        row = self._parts.db.read(read)
        if row is None:
            raise NotFound(f"template {template_id} has no {kind} secret", "Declare it, and apply")
        return self._parts.keyring.unseal(secret_identity(row.name), row.sealed, row.wrapping_key_id)

    def _fresh(self, address: str, before: Spec | None, after: Spec, telling: Telling | None) -> ToldPassphrase | None:
        if not makes_passphrase(before, after):
            return None
        if telling is None:
            raise nowhere_to_tell(address)
        told = ToldPassphrase(address, random_passphrase(self._parts.entropy))
        telling.keep(told)
        return told

    def _sealed(self, secret: Secret) -> tuple[str, Sealed]:
        """Under a random name: the template's row may not exist yet, and the secret before stays as it is."""
        name = f"scep-intune/{self._parts.entropy.token(_NAME_OCTETS).hex()}"
        return name, self._parts.keyring.seal(secret_identity(name), secret.reveal())

    def _put(
        self, c: Connection, template_id: int, kind: SecretKind, secret: Secret, sealed: tuple[str, Sealed] | None,
        now: int, former_until: int | None,
    ) -> None:  # fmt: skip
        digest = None
        if sealed is not None:
            keys.add_secret(c, sealed[0], sealed[1].blob, sealed[1].wrapping_key_id)
        else:
            digest = digest_of(self._parts, _PURPOSES[kind], template_id, secret.reveal())
        name = sealed[0] if sealed is not None else None
        store.put_secret(c, template_id, kind, digest=digest, sealed_as=name, now=now, former_until=former_until)


def _at(spec: Spec | None, path: str) -> object:
    found: object = spec
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _generates(spec: Spec | None) -> bool:
    return _at(spec, "scep.static_passphrase.generate") is True


def _had(before: Spec | None, path: str, after: Spec) -> bool:
    """Whether there was a secret at `path` that there is no more."""
    if path == PASSPHRASE:
        return (_at(before, path) is not None or _generates(before)) and (
            _at(after, path) is None and not _generates(after)
        )
    return _at(before, path) is not None and _at(after, path) is None


def _overlap(after: Spec) -> int:
    """Seconds for which the passphrase before is accepted beside the new one."""
    passphrase = SCEPSpec.model_validate(after["scep"]).static_passphrase if after.get("scep") else None
    return passphrase.overlap.seconds if passphrase is not None and passphrase.overlap is not None else 0
