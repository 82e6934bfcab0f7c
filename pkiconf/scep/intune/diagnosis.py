"""What stands between a template and its tenant's Intune, found out step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from pkiconf.egress.deadline import Deadline
from pkiconf.errors import PkiconfError, Refused
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.requests import find_template
from pkiconf.model.intune import IntuneAccess, IntuneServiceName
from pkiconf.scep.intune.access import Accesses, MakeService
from pkiconf.scep.intune.call import NotAnswered
from pkiconf.scep.intune.discovery import FORBIDDEN, UNAUTHORIZED
from pkiconf.scep.intune.service import SECONDS, IntuneService
from pkiconf.scep.intune.tokens import Resource, Token

PERMISSIONS: Final = {Resource.GRAPH: "Application.Read.All", Resource.INTUNE: "scep_challenge_provider"}
_MOST_SKEW: Final = 120
_PROBE: Final = b"\x30\x00"
"""No certification request: nobody was sent for it, so Intune must not say yes."""


@dataclass(frozen=True, slots=True)
class IntuneFinding:
    """`detail` is what was found, or what is wrong; `hint` what to do about it."""

    step: str
    is_good: bool
    detail: str
    hint: str = ""


class _Wrong(PkiconfError):
    """Something was found, and is not as it should be."""


@dataclass(frozen=True)
class IntuneDiagnosis:
    parts: Parts
    make_service: MakeService
    access_of: Accesses

    def check(self, template: str) -> list[IntuneFinding]:
        """For a template by name, up to the first thing that the others depend on. Nothing is remembered from calls
        before, and Intune is changed by none. Raises NotFound, and Refused where the template has no Intune."""
        row = self.parts.db.read(lambda c: find_template(c, template))
        access = self.access_of(row.id)
        if access is None:
            raise Refused(f"template {template} is not declared with Intune", "Add scep: {intune: {…}}, and apply")
        return list(_findings(self.make_service(access), access))


def _findings(service: IntuneService, access: IntuneAccess) -> Iterator[IntuneFinding]:
    deadline = Deadline.within(3 * SECONDS)
    tokens: list[Token] = []

    def token(resource: Resource) -> str:
        tokens.append(service.line.tokens.get(resource, deadline))
        return _judged(tokens[-1], resource)

    yield _tried("token for Microsoft Graph", lambda: token(Resource.GRAPH))
    if not tokens:
        return
    yield _clock(tokens[0])
    yield _tried("token for Intune", lambda: token(Resource.INTUNE))
    places = [_tried(f"{name}", partial(_place, service, name, deadline)) for name in IntuneServiceName]
    yield from places
    if len(tokens) == len(Resource) and places[0].is_good:
        yield _tried("validation", lambda: _probed(service))


def _tried(step: str, find: Callable[[], str]) -> IntuneFinding:
    try:
        return IntuneFinding(step, True, find())
    except TimeoutError:
        return IntuneFinding(step, False, "there was no answer in time")
    except PkiconfError as ex:
        return IntuneFinding(step, False, ex.detail, ex.hint)


def _judged(token: Token, resource: Resource) -> str:
    wanted = PERMISSIONS[resource]
    if token.roles is None:
        return "given; which permissions stand in it cannot be read"
    if wanted not in token.roles:
        held = ", ".join(token.roles) or "none"
        raise _Wrong(
            f"the application has no permission {wanted} (it has: {held})",
            f"Add it under API permissions, {resource.value}, Application permissions, and grant admin consent",
        )
    return f"given, with {wanted}"


def _clock(token: Token) -> IntuneFinding:
    if token.skew is None:
        return IntuneFinding("clock", True, "Entra did not say what time it is")
    away = abs(token.skew)
    if away <= _MOST_SKEW:
        return IntuneFinding("clock", True, f"within {_MOST_SKEW} seconds of Entra's")
    said = f"this machine's clock is {away:.0f} seconds {'behind' if token.skew > 0 else 'ahead of'} Entra's"
    return IntuneFinding("clock", False, said, "Set it by NTP: devices refuse certificates of a wrong time")


def _place(service: IntuneService, name: IntuneServiceName, deadline: Deadline) -> str:
    return f"at {service.line.discovery.find(name, service.request_id(), deadline)}"


def _probed(service: IntuneService) -> str:
    """Whether the service takes the token at all. What it makes of something that is no request is left to it, as long
    as it is not a yes."""
    try:
        verdict = service.validate("pkiconf-check", _PROBE)
    except NotAnswered as ex:
        if ex.status in (UNAUTHORIZED, FORBIDDEN) or ex.status >= 500 or ex.status == 404:
            raise
        return f"it answers ({ex.status} to something that is no request)"
    if verdict.is_success:
        raise _Wrong("it let in something that is no request", "Ask who runs it: it is not Intune")
    return f"it answers ({verdict.code} to something that is no request)"
