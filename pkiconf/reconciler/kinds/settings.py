"""`settings`: one object, which exists from the first apply on, declared or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pkiconf.errors import Malformed, Refused
from pkiconf.model.secret import Secret
from pkiconf.policy.starters import overlay
from pkiconf.reconciler.kinds.kind import Act, Declaring, View
from pkiconf.reconciler.kinds.plain import PlainKind, misfit
from pkiconf.reconciler.state import IMPLIED, SETTINGS, Actual, Desired, Finding, Severity, Spec
from pkiconf.spec.document import Document
from pkiconf.spec.mail import PASSWORD
from pkiconf.spec.settings import Settings
from pkiconf.store.database import Connection
from pkiconf.store.settings import find_setting


class SettingsKind(PlainKind):
    name = SETTINGS

    def declare(self, document: Document, declaring: Declaring) -> Iterator[Desired]:
        if document.settings is None:
            return
        explicit, password = dict(document.settings_explicit), document.settings_secrets.get(PASSWORD)
        if password is not None:
            explicit["mail"] = {**explicit["mail"], "password": declaring.mark(password)}
        yield Desired(SETTINGS, explicit, declaring.owner, secrets=dict(document.settings_secrets))

    def imply(self, view: View) -> Iterator[Desired]:
        # URLs are baked into certificates, so the defaults of the day are fixed by the first apply.
        yield Desired(SETTINGS, {}, IMPLIED)

    def create(self, wish: Desired, view: View) -> Spec:
        return overlay(Settings().model_dump(mode="json", by_alias=True), wish.explicit)

    def merge(self, wish: Desired, standing: Actual, view: View) -> Spec:
        return overlay(standing.spec, wish.explicit)

    def refusal(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> str:
        return misfit(Settings, after)

    def needs(self, address: str, after: Spec) -> tuple[str, ...]:
        return ()

    def findings(self, wish: Desired, standing: Actual | None, after: Spec, view: View) -> Iterator[Finding]:
        url = status_url(after)
        if urlsplit(url).scheme == "https":
            yield Finding(
                SETTINGS,
                Severity.WARNING,
                f"status URLs start with {url}: checking a certificate would itself need a certificate; "
                "set settings.urls.status to a plain http address",
                wish.at,
            )
        if standing is not None and status_url(standing.spec) != url and view.actual.of_kind("authority"):
            yield Finding(
                SETTINGS,
                Severity.WARNING,
                f"certificates issued so far point to {status_url(standing.spec)}; keep it answering until they end",
                wish.at,
            )

    def observe(self, c: Connection) -> Iterator[Actual]:
        row = find_setting(c, SETTINGS)
        if row is not None:
            yield Actual(SETTINGS, json.loads(row.spec), row.owner, generation=row.generation)

    def perform(self, act: Act) -> None:
        act.services.settings.write(
            act.after, act.change.owner, act.generation, act.actor, act.guard, password=_password(act)
        )


def _marked(spec: Spec | None) -> str | None:
    """What stands in the place of the password that the mail server is logged in to with."""
    mail: Any = (spec or {}).get("mail") or {}
    mark: str | None = mail.get("password")
    return mark


def _password(act: Act) -> Secret | None:
    """The declared password if it is another than before.

    Raises Malformed for a saved plan alone, Refused when the password was changed since the plan was made.
    """
    after = _marked(act.after)
    if after is None or after == _marked(act.change.before):
        return None
    if act.wish is None or PASSWORD not in act.wish.secrets:
        raise Malformed(f"{SETTINGS} reads {PASSWORD}", "Give the YAML files instead of the plan")
    if _marked(act.wish.explicit) != after:
        raise Refused(f"the {PASSWORD} of {SETTINGS} is another than was planned with", "Plan again")
    return act.wish.secrets[PASSWORD]


def status_url(spec: Spec) -> str:
    """Where certificates say that their status is to be had."""
    urls: Any = spec.get("urls") or {}
    return str(urls.get("status") or spec.get("base_url") or "").rstrip("/")
