"""Certificates that are approved before anybody has made a key for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pkiconf.errors import Conflict
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.request import Overrides
from pkiconf.model.secret import Secret


class Deliver(StrEnum):
    CLAIM = "claim"  # whoever has the link brings a CSR, and takes the certificate along
    APPLE = "apple"  # the link leads to a profile, with which the device enrols over SCEP


@dataclass(frozen=True, slots=True)
class GrantWish:
    """What is to be approved: exactly this subject and these alternative names. `template` is `authority/name` or a
    bare name; of `validity` only the days and moments count; `email` is whom to tell, None for nobody."""

    template: str
    subject: Name
    sans: tuple[GeneralName, ...] = ()
    validity: Overrides = field(default_factory=Overrides)
    email: str | None = None
    deliver: Deliver = Deliver.CLAIM


@dataclass(frozen=True, slots=True)
class Offer:
    """A request that waits to be claimed. `url` is the link with its token; `email` who is told, None for nobody: then
    the link has to be handed over."""

    number: int
    url: Secret
    expires_at: datetime
    email: str | None


class LinkEnded(Conflict):
    """A link that once led somewhere: it was used, was replaced, or has expired."""
