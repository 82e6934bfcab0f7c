"""Where a tenant's Intune is: its scale unit is told by Microsoft Graph, and may move."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.https import HTTPSAnswer, HTTPSClient
from pkiconf.errors import Unavailable
from pkiconf.model.intune import INTUNE_APPLICATION, IntuneAccess, IntuneServiceName
from pkiconf.scep.intune.answers import OK, complaint, read_object
from pkiconf.scep.intune.tokens import Resource, Token, Tokens

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403


class Discovery:
    """The URIs of one access's services, kept until they are forgotten."""

    def __init__(self, https: HTTPSClient, access: IntuneAccess, tokens: Tokens) -> None:
        self._https, self._access, self._tokens = https, access, tokens
        self._looking = threading.Lock()
        self._known: Mapping[str, str] | None = None

    def find(self, name: IntuneServiceName, request_id: str, deadline: Deadline) -> str:
        """Without a slash at its end. Raises Unavailable, with what to do about it."""
        found = self._all(request_id, deadline).get(name.value.lower())
        if found is None:
            self.forget()  # what is missing may be granted any time
            raise Unavailable(
                f"Intune offers this tenant no {name}",
                "The tenant needs an Intune licence, and the application consent to scep_challenge_provider",
            )
        return found

    def forget(self) -> None:
        self._known = None

    def _all(self, request_id: str, deadline: Deadline) -> Mapping[str, str]:
        """Lower-case name → URI."""
        known = self._known
        if known is not None:
            return known
        if not self._looking.acquire(timeout=deadline.left()):
            raise TimeoutError
        try:
            known = self._known
            if known is None:
                known = self._known = self._look(request_id, deadline)
            return known
        finally:
            self._looking.release()

    def _look(self, request_id: str, deadline: Deadline) -> Mapping[str, str]:
        answer = self._ask(self._tokens.get(Resource.GRAPH, deadline), request_id, deadline)
        if answer.status == UNAUTHORIZED:
            answer = self._ask(self._tokens.get(Resource.GRAPH, deadline), request_id, deadline)
        if answer.status != OK:
            hint = "Grant the Microsoft Graph application permission Application.Read.All, with admin consent"
            raise Unavailable(
                f"Graph does not list Intune's endpoints: {answer.status} {complaint(answer)}",
                hint if answer.status == FORBIDDEN else "",
            )
        return _read(answer)

    def _ask(self, token: Token, request_id: str, deadline: Deadline) -> HTTPSAnswer:
        url = f"{self._access.graph_url}v1.0/servicePrincipals/appId={INTUNE_APPLICATION}/endpoints"
        headers = {"Authorization": f"Bearer {token.value}", "client-request-id": request_id}
        answer = self._https.request("GET", url, headers=headers, seconds=deadline.left())
        if answer.status in (UNAUTHORIZED, FORBIDDEN):  # what was granted meanwhile stands in the next token
            self._tokens.forget(token)
        return answer


def _read(answer: HTTPSAnswer) -> Mapping[str, str]:
    listed = read_object(answer, "Graph").get("value")
    if not isinstance(listed, list):
        raise Unavailable("Graph answered without a list of Intune's endpoints")
    return dict(pair for one in listed if (pair := _endpoint(one)) is not None)


def _endpoint(one: Any) -> tuple[str, str] | None:  # noqa: ANN401 - whatever stands in the list
    """None for an entry of no use: a token goes only where TLS says who is there."""
    name, uri = (one.get("providerName"), one.get("uri")) if isinstance(one, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(uri, str):
        return None
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        return None
    return name.lower(), uri.rstrip("/")
