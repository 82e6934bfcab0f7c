"""`templates[].scep.intune`: the app registration in Entra."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, Field, WithJsonSchema

from pkiconf.model.intune import AUTHORITY_URL, GRAPH_URL, RESOURCE_URL
from pkiconf.spec.misfits import Advised, Declared, Said


def _guid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Advised(f"{text[:80]!r} is no GUID", "Copy it from the app registration's overview in Entra") from None


GUID = Annotated[
    str,
    AfterValidator(_guid),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f-]{32,36}$"}),
    Said("a GUID such as 11111111-2222-3333-4444-555555555555"),
]


def _tenant(text: str) -> str:
    """A GUID, or one of the tenant's domains."""
    if re.fullmatch(r"[0-9A-Fa-f-]{32,36}", text):
        return _guid(text)
    if re.fullmatch(r"(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}", text):
        return text.lower()
    raise Advised(f"{text[:80]!r} is neither a GUID nor a domain", "Write the tenant's GUID, or its domain")


def _service_url(text: str) -> str:
    """With a slash at its end."""
    try:
        parts = urlsplit(text)
        readable = parts.port is None or parts.port > 0
    except ValueError:
        raise Advised(f"{text[:80]!r} is no URL", "Write https://host/") from None
    if parts.scheme != "https" or not parts.hostname or not readable or not text.isascii() or not text.isprintable():
        raise Advised(f"{text[:80]!r} is no https URL", "Write https://host/")
    if parts.username is not None or parts.query or parts.fragment or " " in text:
        raise Advised(f"{text[:80]!r} holds more than a host and a path", "Write https://host/")
    return text.rstrip("/") + "/"


ServiceURL = Annotated[str, AfterValidator(_service_url), Said("a URL such as https://graph.microsoft.com/")]


class IntuneSpec(Declared):
    """The app registration in Entra with which Intune is asked about each request."""

    tenant_id: Annotated[str, AfterValidator(_tenant), Said("the tenant's GUID or domain")] = Field(
        description="Directory (tenant) ID"
    )
    client_id: GUID = Field(description="Application (client) ID")
    client_secret: str = Field(description="A reference: !env, !file, !vault")
    authority_url: ServiceURL = Field(AUTHORITY_URL, description="Where tokens are given; national clouds have others")
    graph_url: ServiceURL = Field(GRAPH_URL, description="Microsoft Graph, which says where Intune is")
    resource_url: ServiceURL = Field(RESOURCE_URL, description="Intune's API, as tokens name it")
