"""What an account may give as its contacts (RFC 8555 §7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from pkiconf.der.name_syntax import check_mailbox, quoted
from pkiconf.errors import Refused
from pkiconf.model.acme import ACMEProblem, ProblemType

MOST_CONTACTS: Final = 10
_LONGEST: Final = 254 + len("mailto:")


def check_contacts(contacts: Sequence[str]) -> tuple[str, ...]:
    """The contacts, without repetitions.

    Raises ACMEProblem `unsupportedContact` for another scheme than mailto, `invalidContact` for a mailto URL that is
    not just one address: several, header fields (RFC 6068), or none that mail could reach.
    """
    if len(contacts) > MOST_CONTACTS:
        raise _invalid(f"{len(contacts)} contacts are too many", f"Give at most {MOST_CONTACTS}")
    for contact in contacts:
        _check(contact)
    return tuple(dict.fromkeys(contacts))


def _check(contact: str) -> None:
    scheme, colon, address = contact.partition(":")
    if not colon or scheme.lower() != "mailto":
        raise ACMEProblem(
            ProblemType.UNSUPPORTED_CONTACT,
            f"contact {quoted(contact)} is no mailto URL. Write mailto:admin@example.org",
        )
    if len(contact) > _LONGEST:
        raise _invalid(f"contact {quoted(contact)} is too long", "Give an address of at most 254 characters")
    if "?" in address:
        raise _invalid(f"contact {quoted(contact)} has header fields", "Leave out what follows ?")
    if "," in address:
        raise _invalid(f"contact {quoted(contact)} holds several addresses", "Give each as a contact of its own")
    try:
        check_mailbox(unquote(address))
    except Refused as ex:
        raise _invalid(ex.detail, ex.hint) from None


def _invalid(detail: str, hint: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.INVALID_CONTACT, f"{detail}. {hint}" if hint else detail)
