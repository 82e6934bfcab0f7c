"""A document becomes a desired state: addresses, what was written, and marks instead of secrets."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256

from pkiconf.errors import Malformed
from pkiconf.model.secret import Secret
from pkiconf.reconciler.fields import MARKED
from pkiconf.reconciler.kinds import KINDS
from pkiconf.reconciler.kinds.kind import Declaring
from pkiconf.reconciler.state import Desired, DesiredState, Finding, Severity
from pkiconf.spec.document import Document


def declare(document: Document, workspace: str, mark: Callable[[Secret], str]) -> DesiredState:
    """Everything the document wishes. Raises Malformed for a key or certificate file that cannot be read."""
    declaring = Declaring(f"yaml:{workspace}", mark)
    objects: dict[str, Desired] = {}
    for kind in KINDS:
        for wish in kind.declare(document, declaring):
            if wish.address in objects:
                raise Malformed(f"{wish.at}  {wish.address} is declared twice", f"First at {objects[wish.address].at}")
            objects[wish.address] = wish
    findings = tuple(
        Finding("", Severity.WARNING, ". ".join(filter(None, (found.problem, found.hint))), str(found.at))
        for found in document.findings
    )
    return DesiredState(objects, workspace, findings)


def keyed_mark(key: Secret) -> Callable[[Secret], str]:
    """Marks that change with the secret and tell nothing about it to whoever lacks `key`."""

    def mark(secret: Secret) -> str:
        return MARKED + hmac.new(key.reveal(), secret.reveal(), sha256).hexdigest()

    return mark
