"""A template that devices enrol with, and requests for it, as whoever has decrypted one hands them on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pkiconf.authority.telling import Told
from pkiconf.der.csr import parse_csr
from pkiconf.model.scep import SCEPRequest
from pkiconf.reconciler.recap import Recap
from pkiconf.scep.terms import SCEPTerms
from tests.world import World, make_csr

PASSPHRASE = "correct horse battery staple"
PASSWORD = "a password for machines"

DECLARATION = """
settings: {{ base_url: "https://pki.corp.example" }}
authorities: [{{ name: root }}, {{ name: issuing, issuer: root }}]
templates:
  - name: device
    authority: issuing
    starter: device
    scep: {scep}
"""


@dataclass
class Heard:
    """What was told once: kept before the commit, shown after it."""

    kept: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def keep(self, told: Told) -> None:
        self.kept.append(told.render().decode())

    def show(self, told: Told) -> None:
        self.shown.append(told.render().decode())

    @property
    def passphrase(self) -> str:
        return self.shown[-1].partition("SCEP_CHALLENGE_PASSWORD=")[2].strip()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def declare(world: World, scep: str, telling: Heard | None = None, **secrets: str) -> Recap:
    """Converge to one template with this `scep` block; its secrets are environment variables."""
    secrets = {"PASSPHRASE": PASSPHRASE, "PASSWORD": PASSWORD, **secrets}
    with environment(**secrets):
        return world.apply(DECLARATION.format(scep=scep), telling=telling)


def declared(world: World, scep: str, telling: Heard | None = None, **secrets: str) -> SCEPTerms:
    recap = declare(world, scep, telling, **secrets)
    assert recap.exit_code == 0, recap.results
    return terms_of(world)


def terms_of(world: World) -> SCEPTerms:
    found = world.services.scep.terms.find("issuing", "device")
    assert found is not None
    return found


def request(
    terms: SCEPTerms,
    world: World,
    challenge: str | None,
    *,
    name: str = "device-7",
    dns: tuple[str, ...] = (),
    transaction_id: str = "T1",
    client: str = "192.0.2.7",
) -> SCEPRequest:
    return SCEPRequest(
        template_id=terms.template_id,
        authority_id=terms.place.authority_id,
        transaction_id=transaction_id,
        wanted=parse_csr(make_csr(name, dns)),
        challenge=challenge,
        signer_certificate=b"",
        is_renewal=False,
        client_address=client,
        received_at=world.clock.now(),
    )
