"""Who may do what: one table.

Every act takes an Actor and passes `check_may` before it touches anything. Logins and roles come later as rows here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pkiconf.errors import Refused
from pkiconf.model.actor import Actor


class Action(StrEnum):
    """Every act, as `kind.verb`: the kind is that of the address it is done to."""

    PLAN = "declaration.plan"
    APPLY = "declaration.apply"
    SETTINGS_UPDATE = "settings.update"

    AUTHORITY_READ = "authority.read"
    AUTHORITY_CREATE = "authority.create"
    AUTHORITY_IMPORT = "authority.import"
    AUTHORITY_UPDATE = "authority.update"
    AUTHORITY_INSTALL_CERTIFICATE = "authority.install-certificate"
    AUTHORITY_RENEW = "authority.renew"
    AUTHORITY_ROLLOVER = "authority.rollover"
    AUTHORITY_REPLACE = "authority.replace"
    AUTHORITY_RETIRE = "authority.retire"
    AUTHORITY_REVIVE = "authority.revive"
    AUTHORITY_DESTROY = "authority.destroy"
    AUTHORITY_EXPORT = "authority.export"
    AUTHORITY_MOVE = "authority.move"

    TEMPLATE_READ = "template.read"
    TEMPLATE_CREATE = "template.create"
    TEMPLATE_UPDATE = "template.update"
    TEMPLATE_RETIRE = "template.retire"
    TEMPLATE_REVIVE = "template.revive"
    TEMPLATE_DELETE = "template.delete"
    TEMPLATE_MOVE = "template.move"

    REQUEST_READ = "request.read"
    REQUEST_SUBMIT = "request.submit"
    REQUEST_SIGN = "request.sign"
    REQUEST_DECLINE = "request.decline"
    REQUEST_APPROVE = "request.approve"
    REQUEST_RESEND = "request.resend"
    REQUEST_CLAIM = "request.claim"
    PROFILE_FETCH = "request.fetch-profile"
    MAIL_SEND = "mail.send"

    CERTIFICATE_READ = "certificate.read"
    CERTIFICATE_REVOKE = "certificate.revoke"
    CERTIFICATE_HOLD = "certificate.hold"
    CERTIFICATE_RELEASE = "certificate.release"
    CERTIFICATE_RESUME = "certificate.resume"
    CERTIFICATE_ABANDON = "certificate.abandon"
    SERVICE_CERTIFICATE_RENEW = "service-certificate.renew"

    CRL_READ = "crl.read"
    CRL_MAKE = "crl.make"
    CRL_OVERRIDE = "crl.override"

    ACME_READ = "acme.read"
    ACME_POLICY_CREATE = "acme-policy.create"
    ACME_POLICY_UPDATE = "acme-policy.update"
    ACME_POLICY_RETIRE = "acme-policy.retire"
    ACME_BINDING_CREATE = "eab.create"
    ACME_BINDING_UPDATE = "eab.update"
    ACME_BINDING_ROTATE = "eab.rotate"
    ACME_BINDING_DELETE = "eab.delete"
    ACME_ACCOUNT_CREATE = "acme-account.create"
    ACME_ACCOUNT_UPDATE = "acme-account.update"
    ACME_ACCOUNT_DEACTIVATE = "acme-account.deactivate"
    ACME_ORDER_CREATE = "acme-order.create"
    ACME_ORDER_FINALIZE = "acme-order.finalize"
    ACME_AUTHORIZATION_CREATE = "acme-authorization.create"
    ACME_AUTHORIZATION_DEACTIVATE = "acme-authorization.deactivate"
    ACME_CHALLENGE_RESPOND = "acme-authorization.respond"
    ACME_VALIDATE = "acme-authorization.validate"

    SCEP_ENROL = "template.scep-enrol"
    SCEP_CHALLENGE_CREATE = "template.scep-challenge"
    SCEP_PASSPHRASE_ROTATE = "template.scep-passphrase"  # noqa: S105

    KEYSTORE_REKEY = "keystore.rekey"
    AUDIT_READ = "audit.read"
    AUDIT_SEAL = "audit.seal"
    BACKUP = "database.backup"
    RESTORE = "database.restore"
    UPGRADE = "database.upgrade"
    DIAGNOSE = "database.diagnose"


# What ends or replaces a key that others rely on is never done by a process on its own.
_NEEDS_A_PERSON: Final = frozenset(
    {
        Action.AUTHORITY_ROLLOVER,
        Action.AUTHORITY_REPLACE,
        Action.AUTHORITY_RETIRE,
        Action.AUTHORITY_DESTROY,
        Action.AUTHORITY_EXPORT,
        Action.TEMPLATE_RETIRE,
        Action.TEMPLATE_DELETE,
        Action.ACME_POLICY_RETIRE,
        Action.ACME_BINDING_DELETE,
        Action.SCEP_PASSPHRASE_ROTATE,
        Action.REQUEST_SIGN,
        Action.REQUEST_DECLINE,
        Action.REQUEST_APPROVE,
        Action.REQUEST_RESEND,
        Action.REQUEST_CLAIM,
        Action.PROFILE_FETCH,
        Action.CERTIFICATE_HOLD,
        Action.CERTIFICATE_RELEASE,
        Action.CRL_OVERRIDE,
        Action.KEYSTORE_REKEY,
        Action.RESTORE,
    }
)

MAY: Final[Mapping[str, frozenset[Action]]] = MappingProxyType(
    {
        # Whoever has a shell beside the database and the master key.
        "operator": frozenset(Action),
        # Our own processes: worker, watcher, supervisor.
        "system": frozenset(Action) - _NEEDS_A_PERSON,
        # Whoever has a link that was made for them, for the request that it was made for.
        "link": frozenset({Action.REQUEST_CLAIM, Action.PROFILE_FETCH, Action.SCEP_CHALLENGE_CREATE}),
        # An ACME account, for what is its own: whose it is decides the room that keeps it.
        "acme": frozenset(
            {
                Action.ACME_ACCOUNT_CREATE,
                Action.ACME_ACCOUNT_UPDATE,
                Action.ACME_ACCOUNT_DEACTIVATE,
                Action.ACME_ORDER_CREATE,
                Action.ACME_ORDER_FINALIZE,
                Action.ACME_AUTHORIZATION_CREATE,
                Action.ACME_AUTHORIZATION_DEACTIVATE,
                Action.ACME_CHALLENGE_RESPOND,
                Action.CERTIFICATE_REVOKE,
            }
        ),
        # A device, with what lets it in.
        "scep": frozenset({Action.SCEP_ENROL, Action.REQUEST_SUBMIT}),
        # Whoever may open a template's page of challenges, for that template.
        "ndes": frozenset({Action.SCEP_CHALLENGE_CREATE}),
        # A tenant's Intune, for certificates that it was told of.
        "intune": frozenset({Action.CERTIFICATE_REVOKE}),
    }
)
"""Actor kind → what it may do, to any address. A kind that has no row may do nothing."""


def check_may(actor: Actor, action: Action, address: str) -> None:
    """Raise Refused unless `actor` may do `action` to `address` (such as `authority/corp-root`)."""
    if not actor.proved_by:
        raise Refused(f"{actor} has not proved who it is", f"{action} on {address} needs a proven actor")
    if action not in MAY.get(actor.kind, frozenset()):
        raise Refused(f"{actor} may not do {action} on {address}")
