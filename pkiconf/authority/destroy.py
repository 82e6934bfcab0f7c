"""The end of an authority: an archive, then no key and no row of it, and a tombstone on its name and URLs."""

from __future__ import annotations

import io
import json
import os
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pkiconf.authority import establish
from pkiconf.clock import to_epoch
from pkiconf.der.certificate import assemble_certificate
from pkiconf.der.pem import pem_encode
from pkiconf.errors import Conflict, Unavailable
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.policy.authorization import Action, check_may
from pkiconf.steps import Step, kill_point
from pkiconf.store import audit, authorities, certificates, crls, inventory, jobs, keys, slugs
from pkiconf.store.authorities import AuthorityRow, IssuerRow
from pkiconf.store.database import Connection

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Destruction:
    parts: Parts

    def destroy(self, name: str, actor: Actor, archive: Path | None = None) -> Path:
        """Write the archive, then remove the authority; where the archive lies.

        Without `archive` it is `NAME-archive.tar` in the state folder, with a number where that is taken: a run that
        was killed leaves its archive, and the next one writes its own. Raises NotFound; Conflict unless it is retired,
        nothing declared hangs on it, and the archive's place is free; Unavailable when the archive cannot be written,
        and then nothing is removed.
        """
        check_may(actor, Action.AUTHORITY_DESTROY, f"authority/{name}")
        row = self.parts.db.read(lambda c: _destructible(c, name))
        target = archive or _free_place(self.parts.state, name)
        _write(target, self.parts.db.read(lambda c: _contents(c, row)))
        now = to_epoch(self.parts.now())

        def write(c: Connection) -> list[bytes]:
            present = _destructible(c, name)
            if present.generation != row.generation:
                raise Conflict(f"authority {name!r} was changed meanwhile", "Look at it again")
            issuers = [issuer.id for issuer in authorities.list_issuers(c, row.id)]
            gone = [keys.get_key(c, key_id) for key_id in authorities.delete_authority(c, row.id)]
            for key in gone:
                keys.delete_key(c, key.id)
            jobs.cancel(c, establish.JOB, str(row.id))
            slugs.bury_slug(c, f"authority/{name}", now)
            self.parts.record(c, actor, "authority.destroy", f"authority/{name}", {"issuers": issuers})
            return [key.spki_sha256 for key in gone]

        for spki_sha256 in self.parts.db.write(Step.AUTHORITY_DESTROY, write):
            self.parts.keyring.forget(spki_sha256)
        return target


def _destructible(c: Connection, name: str) -> AuthorityRow:
    row = authorities.get_authority_by_name(c, name)
    if row.lifecycle != "retired":
        raise Conflict(
            f"authority {name!r} is {row.lifecycle.replace('_', ' ')}",
            "Retire it first: declare `state: absent` and apply with --allow retire",
        )
    below = [
        other.name
        for other in authorities.list_authorities(c)
        if other.lifecycle != "retired" and json.loads(other.spec).get("issuer") == name
    ]
    if below:
        raise Conflict(f"authority {name!r} still stands above {', '.join(below)}", "Retire or move those first")
    return row


def _contents(c: Connection, row: AuthorityRow) -> dict[str, bytes]:
    """File name → contents: the declaration, every certificate, the last CRL of each generation, the audit records."""
    found = {"declaration.json": row.spec.encode()}
    for issuer in authorities.list_issuers(c, row.id):
        own = authorities.list_ca_certificates(c, issuer.id)
        found[f"generation-{issuer.generation}/authority.pem"] = _pem([certificate.der for certificate in own])
        found[f"generation-{issuer.generation}/issued.pem"] = _pem(_issued(c, issuer))
        if (crl := crls.current(c, issuer.id)) is not None:
            found[f"generation-{issuer.generation}/last.crl"] = crl.der
    found["audit.jsonl"] = _audit(c, row)
    return found


def _pem(ders: list[bytes]) -> bytes:
    return "".join(pem_encode("CERTIFICATE", der) for der in ders).encode()


def _issued(c: Connection, issuer: IssuerRow) -> list[bytes]:
    wish, after, ders = inventory.Wish(issuer_ids=[issuer.id]), None, []
    while page := inventory.search(c, wish, after=after, limit=_PAGE):
        for row in page:
            stored = certificates.find_stored(c, row.issuer_id, row.serial)
            if stored is not None and stored.signature is not None:
                ders.append(assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature))
        after = (page[-1].issuer_id, page[-1].serial)
    return ders


def _audit(c: Connection, row: AuthorityRow) -> bytes:
    """Records about the authority itself, its templates and its certificates."""
    issuers = {issuer.id for issuer in authorities.list_issuers(c, row.id)}
    lines, after = [], 0
    while page := audit.list_events(c, after=after, limit=_PAGE):
        for event in page:
            address, details = str(event.fields.get("address", "")), event.fields.get("details", {})
            kind, _, rest = address.partition("/")
            its_own = kind in ("authority", "template") and rest.partition("/")[0] == row.name
            if its_own or details.get("issuer") in issuers:
                lines.append(event.body)
        after = page[-1].id
    return "".join(f"{line}\n" for line in lines).encode()


def _free_place(folder: Path, name: str) -> Path:
    places = (folder / f"{name}-archive{ending}.tar" for ending in ("", *(f"-{n}" for n in range(2, 1000))))
    return next((place for place in places if not place.exists()), folder / f"{name}-archive.tar")


def _write(target: Path, contents: dict[str, bytes]) -> None:
    """Complete or not at all; an archive is never overwritten."""
    temporary = target.with_name(f".{target.name}.new")
    kill_point(Step.AUTHORITY_ARCHIVE, "before")
    try:
        temporary.unlink(missing_ok=True)  # left by a run that was killed while it wrote
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for name, data in contents.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)  # unlike a rename, it never replaces
        _sync(target.parent)
    except FileExistsError:
        raise Conflict(f"{target} exists already", "Move it away, or name another file with --archive") from None
    except OSError as ex:
        raise Unavailable(f"the archive {target} cannot be written: {ex.strerror}", "Nothing was removed") from ex
    finally:
        with suppress(OSError):  # what made the write fail has been said
            temporary.unlink(missing_ok=True)
    kill_point(Step.AUTHORITY_ARCHIVE, "after")


def _sync(folder: Path) -> None:
    """Make a new name durable: what it stands for is about to be removed elsewhere."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
