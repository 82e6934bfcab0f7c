"""Every URL of ACME: made here, and recognised here, character by character (URLs stay for ever)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "/acme"

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_name(text: str) -> bool:
    """Whether a part of a URL can be the name of something: nothing else is looked for in the database."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class URLs:
    """`base` is the configured one, without a slash at its end; what a request says of its host is not asked."""

    base: str

    def of(self, path: str) -> str:
        return self.base + path

    def directory(self, policy: str | None = None) -> str:
        return f"{self.base}{PREFIX}/p/{policy}/directory" if policy else f"{self.base}{PREFIX}/directory"

    def new_account(self, policy: str | None = None) -> str:
        return f"{self.base}{PREFIX}/p/{policy}/new-account" if policy else f"{self.base}{PREFIX}/new-account"

    def resource(self, name: str) -> str:
        return f"{self.base}{PREFIX}/{name}"

    def account(self, name: str) -> str:
        return f"{self.base}{PREFIX}/acct/{name}"

    def find_account(self, url: str) -> str | None:
        """The name in an account's URL: exactly that URL, no other that begins like it."""
        before = f"{self.base}{PREFIX}/acct/"
        name = url[len(before) :]
        return name if url.startswith(before) and is_name(name) else None

    def orders(self, account: str, cursor: int | None = None) -> str:
        return f"{self.account(account)}/orders" + (f"?cursor={cursor}" if cursor is not None else "")

    def order(self, name: str) -> str:
        return f"{self.base}{PREFIX}/order/{name}"

    def finalize(self, name: str) -> str:
        return f"{self.order(name)}/finalize"

    def certificate(self, name: str, alternate: int = 0) -> str:
        return f"{self.base}{PREFIX}/cert/{name}" + (f"/{alternate}" if alternate else "")

    def authorization(self, name: str) -> str:
        return f"{self.base}{PREFIX}/authz/{name}"

    def challenge(self, authorization: str, type: str) -> str:
        return f"{self.base}{PREFIX}/chall/{authorization}/{type}"
