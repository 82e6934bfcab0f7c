"""Whether CAA records let us issue (RFC 8659), to this account and by this challenge (RFC 8657)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_CRITICAL: Final = 0x80  # RFC 8659 §4.1
_KNOWN: Final = ("issue", "issuewild", "iodef")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9](?:-*[A-Za-z0-9])*(?:\.[A-Za-z0-9](?:-*[A-Za-z0-9])*)*")
_PARAMETER: Final = re.compile(r"([A-Za-z0-9](?:-*[A-Za-z0-9])*)[ \t]*=[ \t]*([\x21-\x3a\x3c-\x7e]*)")
_METHOD: Final = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class CAARecord:
    """One property; `tag` in lower case."""

    flags: int
    tag: str
    value: bytes

    @property
    def is_critical(self) -> bool:
        return bool(self.flags & _CRITICAL)


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to issue, for whom, and how the name was proved. `account` is the account's URL, compared exactly."""

    identities: Collection[str]
    account: str
    method: str
    wildcard: bool


def refusal(records: Sequence[CAARecord], wish: Wish) -> str:
    """Why the relevant record set (RFC 8659 §3) forbids it, in words; empty when it does not."""
    for record in records:
        if record.is_critical and record.tag not in _KNOWN:
            return f"the critical property {record.tag[:40]!r} is not known here"
    concerned = _concerned(records, wish.wildcard)
    if not concerned:
        return ""
    reasons = [_mismatch(record.value, wish) for record in concerned]
    if not all(reasons):
        return ""
    return f"none of {len(reasons)} properties allows it: {'; '.join(dict.fromkeys(reasons))}"


def _concerned(records: Sequence[CAARecord], wildcard: bool) -> list[CAARecord]:
    """The properties that decide: for a wildcard issuewild alone where there is one (RFC 8659 §4.3)."""
    wild = [record for record in records if record.tag == "issuewild"]
    return wild if wildcard and wild else [record for record in records if record.tag == "issue"]


def _mismatch(value: bytes, wish: Wish) -> str:
    """Why this property does not allow it; empty when it does."""
    try:
        issuer, parameters = parse_value(value)
    except ValueError as ex:
        return f"{ex}"
    if not issuer:
        return "nobody may issue"
    if issuer not in {identity.lower().rstrip(".") for identity in wish.identities}:
        return f"{issuer[:80]} may issue, which is not us"
    accounts = [found for name, found in parameters if name == "accounturi"]
    if len(accounts) > 1:
        return "accounturi is given twice"
    if accounts and accounts[0] != wish.account:
        return f"account {accounts[0][:200]} may, and this one is {wish.account}"
    methods = [found for name, found in parameters if name == "validationmethods"]
    if len(methods) > 1:
        return "validationmethods is given twice"
    if methods and wish.method not in list(_methods(methods[0])):
        return f"validation by {methods[0][:80]} may, and this one was by {wish.method}"
    return ""


def _methods(value: str) -> Iterator[str]:
    """None at all when one of them cannot be read (RFC 8657 §4)."""
    found = value.split(",")
    return iter(found if all(_METHOD.fullmatch(method) for method in found) else ())


def parse_value(value: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Issuer domain name, empty for nobody, and parameters of an issue or issuewild property (RFC 8659 §4.2).

    Raises ValueError: such a property allows nobody.
    """
    if not value.isascii():
        raise ValueError("a property cannot be read")
    issuer, *rest = (part.strip(" \t") for part in value.decode("ascii").split(";"))
    if issuer and not _DOMAIN.fullmatch(issuer):
        raise ValueError("a property cannot be read")
    if rest and not rest[-1]:
        rest.pop()  # "ca.example;" has no parameters
    parameters = []
    for part in rest:
        found = _PARAMETER.fullmatch(part)
        if found is None:
            raise ValueError("a property cannot be read")
        parameters.append((found[1].lower(), found[2]))
    return issuer.lower(), tuple(parameters)
