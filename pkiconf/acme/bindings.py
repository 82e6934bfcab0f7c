"""External account bindings (RFC 8555 §7.3.4): made, told once, rotated, deleted; and opened for who presents one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pkiconf.issuance.parts import Parts
from pkiconf.model.secret import Secret
from pkiconf.store.acme_policies import BindingRow


@dataclass(frozen=True, slots=True)
class OpenBinding:
    """A binding that may register an account now. `key` are the octets of the HMAC key."""

    id: int
    policy_id: int
    key_id: str
    key: Secret
    row: BindingRow


class Bindings:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def open(self, key_id: str, now: datetime) -> OpenBinding:
        """The binding that a client names, before its MAC is checked with `key`.

        Raises ACMEProblem `unauthorized` for one that is unknown, was deleted, has expired, or whose policy is retired;
        whether places are left is decided when the account is written. What is said of an unknown key identifier tells
        nothing about known ones.
        """
        raise NotImplementedError
