"""A PKI in which certificates are approved in advance, with a mail server beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from pkiconf.der.names import parse_general_name_text, parse_name_text
from pkiconf.model.enrolment import Deliver, GrantWish, Offer
from pkiconf.model.request import Overrides
from pkiconf.reconciler.state import Action
from pkiconf.store.tables import metadata
from pkiconf.worker import Worker
from tests.mail_server import MailServer, mail_server
from tests.world import OPERATOR, World

BASE = "https://pki.corp.example"
DECLARED = """
settings:
  base_url: http://pki.corp.example
  urls: { enrolment: https://pki.corp.example }
  MAIL
authorities:
  - { name: root, subject: { common_name: Example Root, organization: Example Corp } }
  - { name: issuing, issuer: root, subject: { common_name: Example Issuing, organization: Example Corp } }
templates:
  - name: device
    authority: issuing
    starter: device
    validity: 90d
    scep: { enabled: true, challenges: true }
  - { name: person, authority: issuing, starter: s-mime, max_validity: 365d }
  - { name: ec-only, authority: issuing, allowed_keys: [ec], scep: { enabled: true, challenges: true } }
  - { name: no-scep, authority: issuing, starter: device }
  - name: fixed
    authority: issuing
    starter: client
    subject: { from: merge, values: { organization: Example Corp } }
  - { name: servers, authority: issuing, names: { allow: { dns: ["*.corp.example"] } } }
"""
NO_MAIL = "acme: {}"


def mail_block(port: int, more: str = "security: none") -> str:
    return f"mail: {{ server: 127.0.0.1, port: {port}, {more}, from: Example PKI <pki@corp.example> }}"


@dataclass
class Office:
    world: World
    mail: MailServer | None = None

    declared: str = ""

    def declare(self, mail: str = NO_MAIL) -> None:
        self.declared = DECLARED.replace("MAIL", mail)
        recap = self.world.apply(self.declared)
        assert recap.exit_code == 0, recap

    def change(self, old: str, new: str, *allow: Action) -> None:
        """Declare it again with something else in one place."""
        assert old in self.declared
        recap = self.world.apply(self.declared.replace(old, new), allow=allow)
        assert recap.exit_code == 0, recap

    def preapprove(self, *sans: str, **more: Any) -> Offer:
        return self.world.services.enrolment.grants.preapprove(wish(*sans, **more), OPERATOR)

    def work(self) -> None:
        Worker(self.world.services).run_once()

    def state(self, number: int) -> str:
        return self.world.services.requests.get(number).row.state

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.world.parts.db.read(lambda c: [tuple(row) for row in c.execute(text(sql))])

    def told(self, action: str) -> list[dict[str, Any]]:
        """What the audit log says of an action, oldest first."""
        found = [json.loads(body) for (body,) in self.rows("SELECT body FROM audit_event ORDER BY id")]
        return [one for one in found if one["action"] == action]

    def everything(self) -> str:
        """All that lies in the database, as text: what must not stand there is looked for in it."""
        tables = [table.name for table in metadata.sorted_tables]
        found = [str(self.rows(f'SELECT * FROM "{name}"')) for name in tables]
        return "\n".join(found)


def wish(
    *sans: str,
    template: str = "issuing/person",
    subject: str = "CN=Jane Doe,O=Example Corp",
    email: str | None = None,
    apple: bool = False,
    validity: Overrides | None = None,
) -> GrantWish:
    return GrantWish(
        template=template,
        subject=parse_name_text(subject),
        sans=tuple(map(parse_general_name_text, sans)),
        validity=validity or Overrides(),
        email=email,
        deliver=Deliver.APPLE if apple else Deliver.CLAIM,
    )


def token_of(offer: Offer) -> str:
    return offer.url.reveal().decode().rpartition("/")[2].removesuffix(".mobileconfig")


@contextmanager
def mailing(world: World) -> Iterator[Office]:
    """An office whose PKI sends mail over a real server."""
    with mail_server() as found:
        office = Office(world, found)
        office.declare(mail_block(found.port))
        yield office
