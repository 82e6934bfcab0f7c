"""The pages of clients, as `pkiconf acme client` prints them: their files and commands, with the places of a test."""

from __future__ import annotations

from collections.abc import Mapping

from tests.interop.acme.pki import PKI
from tests.sessions import blocks


def shown(pki: PKI, client: str, language: str, title: str, here: Mapping[str, str]) -> str:
    """A block of the page, with the binding's credentials and with what `here` puts in the place of what the page
    shows. Everything of `here` has to stand there."""
    page = pki.command("acme", "client", client)
    body = next(block.body for block in blocks(page) if (block.language, block.title) == (language, title))
    for there, mine in {"HMAC-KEY": pki.hmac_key, "KEY-ID": pki.kid}.items():
        body = body.replace(there, mine)
    for there, mine in here.items():
        assert there in body, f"the page shows no {there!r}"
        body = body.replace(there, mine)
    return f"{body}\n"
