"""dns-01 (RFC 8555 §8.4): a TXT record beside the name."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.reach import Names
from pkiconf.egress.unproved import Unproved, shown
from pkiconf.model.acme import Identifier, ProblemType

_PREFIX: Final = "_acme-challenge."
_MOST_SHOWN: Final = 3


def check_dns(identifier: Identifier, expected: str, names: Names, deadline: Deadline) -> None:
    """Raise Unproved unless one of the TXT records, where aliases lead as well, is the digest of the key authorization
    `expected`."""
    name = _PREFIX + identifier.value
    digest = urlsafe_b64encode(sha256(expected.encode("ascii")).digest()).rstrip(b"=")
    advice = f"Put {shown(digest)} there, as a TXT record"
    try:
        found = names.texts(name, deadline)
    except Unproved as ex:
        raise Unproved(ex.problem.type, f"{ex.problem.detail}. {advice}") from None
    if digest in found:
        return
    if not found:
        raise Unproved(ProblemType.INCORRECT_RESPONSE, f"{name} has no TXT record. {advice}")
    listed = ", ".join(shown(text) for text in found[:_MOST_SHOWN])
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    raise Unproved(ProblemType.INCORRECT_RESPONSE, f"{name} has other TXT records, {listed}{more}. {advice}")
