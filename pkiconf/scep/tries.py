"""How often one client may present what lets nobody in."""

from __future__ import annotations

from pkiconf.clock import to_epoch
from pkiconf.issuance.parts import Parts
from pkiconf.policy.scep import client_of, find_address
from pkiconf.scep.terms import SCEPTerms
from pkiconf.steps import Step
from pkiconf.store import scep_secrets as store


class Tries:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def are_used_up(self, terms: SCEPTerms, client_address: str, failures: int | None = None) -> bool:
        """`failures`: how many there were lately, where that was read beside something else."""
        limit = terms.spec.tries
        if limit is None:
            return False
        if failures is None:
            client, since = self.counted(terms, client_address)
            failures = self._parts.db.look(lambda c: store.count_failures(c, terms.template_id, client, since))
        return failures >= limit.count

    def counted(self, terms: SCEPTerms, client_address: str) -> tuple[str, int]:
        """What the failures of a client are filed under, and since when they count."""
        limit = terms.spec.tries
        now = to_epoch(self._parts.now())
        return client_of(find_address(client_address)), now if limit is None else now - limit.per.seconds

    def record(self, terms: SCEPTerms, client_address: str) -> None:
        """A power cut may forget it: that gives nobody more than a few tries."""
        limit = terms.spec.tries
        if limit is None:
            return
        client, now = client_of(find_address(client_address)), to_epoch(self._parts.now())
        self._parts.db.write(
            Step.SCEP_TRIES,
            lambda c: store.record_failure(c, terms.template_id, client, now, now - limit.per.seconds),
            durable=False,
        )
