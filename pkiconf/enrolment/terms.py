"""Whether what is to be approved could be issued: asked before anything is recorded, and told in full sentences."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

from pkiconf.der.keys import parse_public_key
from pkiconf.der.name_syntax import check_mailbox, to_a_labels
from pkiconf.enrolment import expressible
from pkiconf.errors import Refused
from pkiconf.issuance.issuer import load_settings
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import current_issuer, open_template
from pkiconf.model.actor import Actor
from pkiconf.model.enrolment import Deliver, GrantWish
from pkiconf.model.keys import KEY_ALGORITHMS, KeyAlgorithm
from pkiconf.model.names import Name
from pkiconf.model.request import Overrides, PublicKeyFacts, Wanted
from pkiconf.policy.key_rules import check_allowed_key
from pkiconf.policy.overrides import unique_names
from pkiconf.signing.local import generate
from pkiconf.spec.settings import Settings
from pkiconf.spec.template import TemplateSpec
from pkiconf.store.database import Connection

ORIGIN: Final = "request"
_QUICKEST: Final = ("ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request belongs. `address` is `authority/template`."""

    template_id: int
    address: str
    issuer_id: int
    settings: Settings


def check_wish(parts: Parts, pipeline: Pipeline, wish: GrantWish, actor: Actor) -> tuple[GrantWish, Place]:
    """The wish in its final form, and where it belongs.

    Raises Refused for what the template, the authority or an Apple device would not do, for a recipient that no mail
    reaches, and for mail without a declared server; NotFound for an unknown template.
    """
    if not wish.subject.rdns and not wish.sans:
        raise Refused("the certificate would name nobody", "Give a subject, or an alternative name")
    wish = replace(wish, sans=unique_names(wish.sans), email=_recipient(wish.email))

    def look(c: Connection) -> tuple[Place, TemplateSpec]:
        row, address = open_template(c, wish.template)
        place = Place(row.id, address, current_issuer(c, row.id), load_settings(c))
        return place, TemplateSpec.model_validate(json.loads(row.spec))

    place, template = parts.db.read(look)
    if wish.email is not None and place.settings.mail is None:
        raise Refused(
            "no mail server is declared, so nobody can be told by mail",
            "Declare settings.mail, or leave the address out and hand the link over yourself",
        )
    if wish.deliver is Deliver.APPLE:
        _check_apple(wish, template, place)
    pipeline.check(_trial(wish, template, place, actor))
    return wish, place


def wanted(subject: Name, wish: GrantWish, spki: bytes, key: PublicKeyFacts) -> Wanted:
    """What is asked of the template. All of the subject counts as set by a person: where the template fixes it
    otherwise, that is refused and not dropped."""
    chosen = Overrides(
        set_subject=subject.attributes,
        days=wish.validity.days,
        not_before=wish.validity.not_before,
        not_after=wish.validity.not_after,
    )
    return Wanted(subject=subject, spki=spki, key=key, sans=wish.sans, overrides=chosen)


def _check_apple(wish: GrantWish, template: TemplateSpec, place: Place) -> None:
    expressible.check_template(template, place.address)
    expressible.alternative_names(wish.sans)
    if not wish.subject.rdns:
        raise Refused("an Apple device asks for a subject", "Give one, such as CN=Jane's iPad")
    if (wish.validity.days, wish.validity.not_before, wish.validity.not_after) != (None, None, None):
        raise Refused(
            "over SCEP a certificate has the validity of its template",
            "Leave the validity out, or use another template",
        )


def _recipient(email: str | None) -> str | None:
    if email is None:
        return None
    local, at, domain = email.strip().rpartition("@")
    address = f"{local}{at}{to_a_labels(domain)}"
    check_mailbox(address)
    return address


def _trial(wish: GrantWish, template: TemplateSpec, place: Place, actor: Actor) -> IssuanceOrder:
    """With a key that is thrown away."""
    _, spki = generate(_some_key(wish, template))
    return IssuanceOrder(
        issuer_id=place.issuer_id,
        template_id=place.template_id,
        wanted=wanted(wish.subject, wish, spki, parse_public_key(spki)),
        origin_kind=ORIGIN,
        origin_id="0",
        address=f"template/{place.address}",
        actor=actor,
    )


def _some_key(wish: GrantWish, template: TemplateSpec) -> KeyAlgorithm:
    """One that the template takes, and that is quickly made."""
    if wish.deliver is Deliver.APPLE:
        return KEY_ALGORITHMS[f"rsa-{expressible.key_size(template)}"]
    for name in (*_QUICKEST, *KEY_ALGORITHMS):
        algorithm = KEY_ALGORITHMS[name]
        curve = name.removeprefix("ec-") if name.startswith("ec-") else None
        try:
            check_allowed_key(PublicKeyFacts(algorithm.type, algorithm.bits, curve), template.allowed_keys)
        except Refused:
            continue
        return algorithm
    raise Refused(f"template {template.name!r} takes no kind of key that is known here", "See its allowed_keys")
