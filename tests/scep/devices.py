"""A template that devices really enrol with, and devices that ask it in every way."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.reconciler.state import Action
from pkiconf.scep.places import Place
from tests.scep.place import PASSPHRASE, environment
from tests.scep_client import Answer, Device, Wish, make_request, message, read_answer
from tests.wholeness import rows
from tests.world import World

DECLARATION = """
settings: {{ base_url: "https://pki.corp.example" }}
authorities:
  - {{ name: root, key: {{ type: ec, curve: p256 }} }}
  - {{ name: issuing, issuer: root, key: {key} }}
templates:
  - {{ name: device, authority: issuing, starter: device, scep: {scep}{more} }}
  - {{ name: other, authority: issuing, starter: device, scep: {scep} }}
"""
BY_PASSPHRASE = "{ enabled: true, static_passphrase: !env PASSPHRASE%s }"


@dataclass
class Fleet:
    """Devices before one template. What they ask is counted, so that each transaction has an id of its own."""

    world: World
    template: str = "device"
    asked: int = field(default=0)

    @property
    def place(self) -> Place:
        return self.world.services.scep.places.find("issuing", self.template)

    @property
    def recipient(self) -> bytes:
        return self.place.presented(self.world.clock.now()).head.der

    def wish(self, **how: object) -> Wish:
        self.asked += 1
        return Wish(**{"transaction": f"T{self.asked:07}", **how})  # type: ignore[arg-type]

    def send(self, octets: bytes, client: str = "192.0.2.7") -> bytes:
        return self.world.services.scep.responder.answer(self.place, octets, client)

    def ask(self, device: Device, content: bytes, wish: Wish | None = None, client: str = "192.0.2.7") -> Answer:
        wish = wish or self.wish()
        answer = read_answer(self.send(message(device, content, self.recipient, wish), client), device.key)
        assert (answer.transaction, answer.recipient_nonce) == (wish.transaction, wish.nonce)
        return answer

    def enrol(self, device: Device | None = None, wish: Wish | None = None, name: str = "device-1") -> x509.Certificate:
        device = device or Device.fresh()
        answer = self.ask(device, make_request(device.key, name, challenge=PASSPHRASE), wish)
        assert answer.status == "0", answer
        return answer.certificate

    def enrolled(self, number: int = 0, name: str = "device-1") -> Device:
        """A device with a certificate of ours."""
        device = Device.fresh(number)
        return device.holding(self.enrol(device, name=name).public_bytes(Encoding.DER))

    def issued(self) -> int:
        """How many certificates devices have been reserved."""
        return int(rows(self.world.services, "SELECT count(*) FROM certificate WHERE origin_kind = 'scep'")[0][0])

    def transactions(self) -> int:
        return int(rows(self.world.services, "SELECT count(*) FROM scep_transaction")[0][0])


def roll_over(world: World) -> None:
    """Another key for the authority that issues."""
    text = DECLARATION.format(scep=BY_PASSPHRASE % "", key="{ type: ec, curve: p384 }", more="")
    with environment(PASSPHRASE=PASSPHRASE):
        recap = world.apply(text, allow=(Action.ROLLOVER,))
    assert recap.exit_code == 0, recap.results


def fleet(
    world: World, scep: str = BY_PASSPHRASE % "", key: str = "{ type: ec, curve: p256 }", more: str = ""
) -> Fleet:
    with environment(PASSPHRASE=PASSPHRASE):
        recap = world.apply(DECLARATION.format(scep=scep, key=key, more=more))
    assert recap.exit_code == 0, recap.results
    return Fleet(world)
