"""What ACME accounts may order, and what their requests may say; pure."""

from __future__ import annotations

from pkiconf.policy.acme.identifiers import MOST_IDENTIFIERS, parse_identifiers
from pkiconf.policy.acme.patterns import NamePatterns, is_preapproved
from pkiconf.policy.acme.terms import Terms, offered_challenges

__all__ = [
    "MOST_IDENTIFIERS",
    "NamePatterns",
    "Terms",
    "is_preapproved",
    "offered_challenges",
    "parse_identifiers",
]
