from __future__ import annotations

import pytest

from pkiconf.errors import Refused
from pkiconf.model.actor import SYSTEM, Actor
from pkiconf.policy.authorization import MAY, Action, check_may

OPERATOR = Actor("operator", "jane", "local-shell")


@pytest.mark.parametrize("action", Action)
def test_the_operator_may_do_everything(action: Action) -> None:
    check_may(OPERATOR, action, "authority/corp-root")


@pytest.mark.parametrize(
    "action",
    [
        Action.AUTHORITY_ROLLOVER,
        Action.AUTHORITY_REPLACE,
        Action.AUTHORITY_RETIRE,
        Action.AUTHORITY_DESTROY,
        Action.AUTHORITY_EXPORT,
        Action.TEMPLATE_RETIRE,
        Action.TEMPLATE_DELETE,
        Action.REQUEST_SIGN,
        Action.REQUEST_DECLINE,
        Action.CERTIFICATE_HOLD,
        Action.CERTIFICATE_RELEASE,
        Action.CRL_OVERRIDE,
        Action.KEYSTORE_REKEY,
        Action.RESTORE,
    ],
)
def test_no_process_does_this_on_its_own(action: Action) -> None:
    with pytest.raises(Refused, match="system:pkiconf may not do"):
        check_may(SYSTEM, action, "authority/corp-root")


@pytest.mark.parametrize(
    "action",
    [Action.CERTIFICATE_RESUME, Action.SERVICE_CERTIFICATE_RENEW, Action.CRL_MAKE, Action.AUDIT_SEAL, Action.APPLY],
)
def test_what_our_processes_do_every_day(action: Action) -> None:
    check_may(SYSTEM, action, "authority/corp-root")


ACCOUNTS_OWN = (
    Action.ACME_ACCOUNT_CREATE,
    Action.ACME_ACCOUNT_UPDATE,
    Action.ACME_ACCOUNT_DEACTIVATE,
    Action.ACME_ORDER_CREATE,
    Action.ACME_ORDER_FINALIZE,
    Action.ACME_AUTHORIZATION_CREATE,
    Action.ACME_AUTHORIZATION_DEACTIVATE,
    Action.ACME_CHALLENGE_RESPOND,
    Action.CERTIFICATE_REVOKE,
)


@pytest.mark.parametrize("action", Action)
def test_an_acme_account_may_do_what_is_its_own(action: Action) -> None:
    account = Actor("acme", "an-account", "jws")
    if action in ACCOUNTS_OWN:
        check_may(account, action, "acme-account/an-account")
        return
    with pytest.raises(Refused, match="acme:an-account may not do"):
        check_may(account, action, "acme-account/an-account")


@pytest.mark.parametrize("action", Action)
def test_whoever_opens_the_page_of_challenges_may_fetch_some_and_nothing_else(action: Action) -> None:
    fetcher = Actor("ndes", "svc-mdm", "basic-authentication")
    if action is Action.SCEP_CHALLENGE_CREATE:
        check_may(fetcher, action, "template/issuing/device")
        return
    with pytest.raises(Refused, match="ndes:svc-mdm may not do"):
        check_may(fetcher, action, "template/issuing/device")


@pytest.mark.parametrize("kind", ["est", "ACME", "acme ", "", "Operator", "operators", "*"])
@pytest.mark.parametrize("action", Action)
def test_a_kind_without_a_row_may_do_nothing(kind: str, action: Action) -> None:
    with pytest.raises(Refused):
        check_may(Actor(kind, "x", "signature"), action, "authority/corp-root")


@pytest.mark.parametrize("kind", MAY)
@pytest.mark.parametrize("action", Action)
def test_who_proved_nothing_may_do_nothing(kind: str, action: Action) -> None:
    with pytest.raises(Refused, match="has not proved"):
        check_may(Actor(kind, "x", ""), action, "authority/corp-root")


def test_the_refusal_names_actor_act_and_address() -> None:
    with pytest.raises(Refused) as refused:
        check_may(Actor("scep", "17", "challenge"), Action.REQUEST_SIGN, "template/corp-issuing/web-server")
    assert refused.value.detail == "scep:17 may not do request.sign on template/corp-issuing/web-server"
