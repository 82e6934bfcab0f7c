"""Static passphrases, and the password of the page of challenges: compared by their digests."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from pkiconf.authority.telling import Telling
from pkiconf.clock import to_epoch
from pkiconf.entropy import Entropy
from pkiconf.errors import Refused
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.secret import Secret
from pkiconf.policy.authorization import Action, check_may
from pkiconf.scep.credentials import ToldPassphrase
from pkiconf.scep.digests import Purpose, digest_of
from pkiconf.scep.terms import SCEPTerms, TermsLookup
from pkiconf.steps import Step
from pkiconf.store import scep_secrets as store
from pkiconf.store.database import Connection
from pkiconf.store.scep_secrets import SecretKind

_OCTETS: Final = 20


class Passphrases:
    def __init__(self, parts: Parts, terms: TermsLookup) -> None:
        self._parts = parts
        self._terms = terms
        self._kept: dict[int, list[store.SecretRow]] = {}

    def find(self, terms: SCEPTerms, presented: str) -> store.SecretRow | None:
        """The passphrase that this is, if it is one that the template takes now."""
        template_id = terms.template_id
        rows = self._kept[template_id] = self._accepted(template_id, SecretKind.PASSPHRASE)
        return self._among(rows, template_id, presented)

    def recall(self, terms: SCEPTerms, presented: str) -> store.SecretRow | None:
        """`find` among what was read last, which may have been replaced since: only for what calls `check_accepted`
        before it grants or refuses anything. That one is not taken is said of what stands now."""
        kept = self._kept.get(terms.template_id, ())
        return self._among(kept, terms.template_id, presented) or self.find(terms, presented)

    def forget(self, template_id: int) -> None:
        self._kept.pop(template_id, None)

    def check_accepted(self, c: Connection, found: store.SecretRow) -> None:
        """In the transaction of what it lets in. Raises Replaced for one that is not accepted now."""
        store.check_accepted(c, found.id, to_epoch(self._parts.now()))

    def is_fetcher(self, terms: SCEPTerms, username: str, password: str) -> bool:
        """Whether these are user name and password of whoever may fetch challenges."""
        wanted = terms.spec.ndes.basic_auth
        digest = digest_of(self._parts, Purpose.BASIC_AUTH, terms.template_id, _octets(password))
        found = _with_digest(self._accepted(terms.template_id, SecretKind.BASIC_AUTH), digest)
        same_name = wanted is not None and hmac.compare_digest(_octets(wanted.username), _octets(username))
        return found is not None and same_name

    def rotate(self, template_id: int, actor: Actor, telling: Telling, overlap: timedelta = timedelta(0)) -> None:
        """Another random passphrase, told once; the one before is accepted for as long as `overlap`.

        Raises NotFound; Refused for one that is declared, and where there is none.
        """
        terms = self._terms.get(template_id)
        check_may(actor, Action.SCEP_PASSPHRASE_ROTATE, terms.address)
        declared = terms.spec.static_passphrase
        if declared is None:
            raise Refused(f"{terms.address} has no static passphrase", "Declare scep.static_passphrase")
        if declared.secret is not None:
            raise Refused(
                f"the static passphrase of {terms.address} is declared",
                "Change it where its reference leads, and apply; static_passphrase.overlap keeps the one before",
            )
        passphrase = random_passphrase(self._parts.entropy)
        digest = digest_of(self._parts, Purpose.PASSPHRASE, template_id, passphrase.reveal())
        now = to_epoch(self._parts.now())
        until = now + int(overlap.total_seconds())
        told = ToldPassphrase(terms.address, passphrase)
        telling.keep(told)

        def write(c: Connection) -> None:
            store.put_secret(
                c, template_id, SecretKind.PASSPHRASE, digest=digest, sealed_as=None, now=now, former_until=until
            )
            details: dict[str, object] = {"former_until": until}
            self._parts.record(c, actor, Action.SCEP_PASSPHRASE_ROTATE, terms.address, details)

        self._parts.db.write(Step.SCEP_SECRET_WRITE, write)
        telling.show(told)

    def _accepted(self, template_id: int, kind: SecretKind) -> list[store.SecretRow]:
        now = to_epoch(self._parts.now())
        return self._parts.db.look(lambda c: store.list_accepted(c, template_id, kind, now))

    def _among(self, rows: Sequence[store.SecretRow], template_id: int, presented: str) -> store.SecretRow | None:
        digest = digest_of(self._parts, Purpose.PASSPHRASE, template_id, _octets(presented))
        return _with_digest(rows, digest)


def _with_digest(rows: Sequence[store.SecretRow], digest: bytes) -> store.SecretRow | None:
    return next((row for row in rows if hmac.compare_digest(row.digest or b"", digest)), None)


def _octets(text: str) -> bytes:
    """Of whatever a client sent: text that is no Unicode is simply no passphrase."""
    return text.encode("utf-8", "surrogatepass")


def random_passphrase(entropy: Entropy) -> Secret:
    """160 bits in letters and digits that every client can send and nobody confuses."""
    return Secret(base64.b32encode(entropy.token(_OCTETS)).lower())
