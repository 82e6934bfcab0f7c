"""Which domain lies within which: the one comparison behind name rules and name constraints.

Names are in lower case and in A-labels.
"""

from __future__ import annotations


def is_within(name: str, domain: str) -> bool:
    """`name` is `domain` or lies below it. A wildcard lies within whatever all its names lie within."""
    return name == domain or name.endswith("." + domain)


def reaches(name: str, domain: str) -> bool:
    """Some host that `name` stands for is `domain` or lies below it: `*.corp.example` reaches `secret.corp.example`."""
    return is_within(name, domain) or stands_for(name, domain)


def stands_for(name: str, host: str) -> bool:
    """`name` is `host`, or a wildcard in `host`'s place (one label, RFC 9525 §6.3)."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])
