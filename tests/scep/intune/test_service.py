"""What Intune is asked and told, over HTTPS, and what is made of everything that it may answer."""

from __future__ import annotations

import base64
import json
import logging
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from pkiconf.clock import SetClock
from pkiconf.errors import Unavailable
from pkiconf.model.intune import (
    REFUSALS,
    HResult,
    IssuedNotice,
    RevocationAnswer,
    RevocationRequest,
    RevocationResult,
    Verdict,
)
from pkiconf.model.secret import Secret
from tests.intune_client import SANS, TRANSACTION, Asker, make_csr
from tests.intune_server import VALIDATION, Fault, Said, StandIn, dripping, error, never, not_http, reset, truncated
from tests.intune_tenant import Tenant

NOTICE = IssuedNotice("A1", "0B", "2031-01-01T00:00:00.000Z", "CN=issuing", "issuing/device", "CN=issuing")
HTML = Said(200, b"<html>we are sorry</html>", {"Content-Type": "text/html"})


def test_a_request_that_intune_sent_a_device_for_is_let_in(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    assert asker.service().validate(TRANSACTION, csr) == Verdict("Success")
    assert stand_in.acts == ["endpoints", "token", "validateRequest"] or stand_in.acts == [
        "token", "endpoints", "token", "validateRequest",
    ]  # fmt: skip
    (heard,) = stand_in.of("validateRequest")
    assert heard.content == {
        "transactionId": TRANSACTION,
        "certificateRequest": base64.b64encode(csr).decode(),
        "callerInfo": heard.headers["user-agent"],
    }
    assert heard.headers["user-agent"].startswith("pkiconf/")
    assert uuid.UUID(heard.headers["client-request-id"]).version == 4


def test_tokens_and_places_are_asked_for_once(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    service = asker.service()
    for _ in range(3):
        assert service.validate(TRANSACTION, csr).is_success
    assert [stand_in.acts.count(act) for act in ("token", "endpoints", "validateRequest")] == [2, 1, 3]
    ids = {heard.headers["client-request-id"] for heard in stand_in.of("validateRequest")}
    assert len(ids) == 3


def test_the_scope_of_intune_has_two_slashes(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    asker.service().validate(TRANSACTION, csr)
    scopes = [line for heard in stand_in.of("token") for line in heard.body.decode().split("&") if "scope" in line]
    assert scopes[1].endswith("api%2F%2F.default")


def test_a_token_is_renewed_before_its_end(stand_in: StandIn, asker: Asker, csr: bytes, clock: SetClock) -> None:
    service = asker.service()
    service.validate(TRANSACTION, csr)
    clock.moment += timedelta(seconds=stand_in.expires_in - 121)
    service.validate(TRANSACTION, csr)
    assert stand_in.acts.count("token") == 2
    clock.moment += timedelta(seconds=2)
    service.validate(TRANSACTION, csr)
    assert stand_in.acts.count("token") == 3  # Graph was not needed


def _with(**changes: Any) -> Callable[[Tenant], bytes]:
    """A request with a challenge that says something else."""
    return lambda tenant: make_csr(tenant.challenge(**changes))


def _asking(**changes: Any) -> Callable[[Tenant], bytes]:
    """A request that asks for something else than its profile."""
    return lambda tenant: make_csr(tenant.challenge(), **changes)


def _profile(**changes: Any) -> Callable[[Tenant], bytes]:
    """The profile was changed after the device had got its challenge."""

    def make(tenant: Tenant) -> bytes:
        csr = make_csr(tenant.challenge())
        tenant.change(**changes)
        return csr

    return make


def _tampered(tenant: Tenant) -> bytes:
    return make_csr(tenant.sealed(json.dumps({"content": "{}", "mac": "00"})))


def _another_key(tenant: Tenant) -> bytes:
    tenant.change(wants_registered_key=True)
    return make_csr(tenant.challenge(keys=["00"]))


CASES: dict[str, Callable[[Tenant], bytes]] = {
    "CertificateRequestDecodingFailed": lambda tenant: b"\x30\x00",
    "ChallengePasswordMissing": lambda tenant: make_csr(None),
    "ChallengeDecodingError": lambda tenant: make_csr("no base64, and long " * 20),
    "ChallengeDecryptionError": lambda tenant: make_csr(base64.b64encode(b"somebody else's" * 30).decode()),
    "ChallengeDeserializationError": lambda tenant: make_csr(tenant.sealed("no JSON")),
    "SignatureValidationFailed": _tampered,
    "ChallengeInvalidTimestamp": _with(until=None),
    "ChallengeExpired": _with(until=0),
    "BadCertificateRequestIdInChallenge": _with(request=None),
    "BadDeviceIdInChallenge": _with(device="laptop"),
    "BadUserIdInChallenge": _with(user=None),
    "ScepProfileNoLongerTargetedToTheClient": _profile(is_targeted=False),
    "SigningCertThumbprintMismatch": _profile(signing_thumbprint="AA"),
    "SubjectNameMissing": _asking(name=None),
    "SubjectNameMismatch": _asking(name="laptop-8"),
    "SubjectAltNameMissing": _asking(sans=()),
    "SubjectAltNameMismatch": _asking(sans=(*SANS, x509.DNSName("dc.corp.example"))),
    "KeyLengthMismatch": _asking(key=ec.generate_private_key(ec.SECP256R1())),
    "KeyUsageMismatch": _asking(usage=(True, False)),
    "EnhancedKeyUsageMissing": _asking(extended=()),
    "EnhancedKeyUsageMismatch": _asking(extended=(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING)),
    "AadKeyIdentifierListMissing": _profile(wants_registered_key=True),
    "RegisteredKeyMismatch": _another_key,
}


@pytest.mark.parametrize("code", CASES)
def test_every_way_to_be_refused_is_heard(stand_in: StandIn, asker: Asker, code: str) -> None:
    verdict = asker.service().validate(TRANSACTION, CASES[code](stand_in.tenant))
    assert verdict == Verdict(code, f"it is {code}")
    assert not verdict.is_success


def test_the_cases_are_all_codes_that_there_are() -> None:
    assert CASES.keys() | {"Unknown"} == REFUSALS


@pytest.mark.parametrize("code", ["Unknown", "success", "SUCCESS", "Success ", "Succeeded", "SomethingNew"])
def test_only_success_is_success(stand_in: StandIn, asker: Asker, csr: bytes, code: str) -> None:
    stand_in.verdicts["validateRequest"] = code
    assert not asker.service().validate(TRANSACTION, csr).is_success


def test_a_certificate_is_told_of(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    assert asker.service().tell_issued(TRANSACTION, csr, NOTICE).is_success
    (heard,) = stand_in.of("successNotification")
    assert {name: heard.content[name] for name in heard.content if name.startswith("certificate")} == {
        "certificateRequest": base64.b64encode(csr).decode(),
        "certificateThumbprint": "A1",
        "certificateSerialNumber": "0B",
        "certificateExpirationDateUtc": "2031-01-01T00:00:00.000Z",
        "certificateAuthority": "CN=issuing",
    }
    assert heard.content["issuingCertificateAuthority"] == "CN=issuing"
    assert heard.content["caConfiguration"] == "issuing/device"


def test_a_notification_that_is_not_taken_is_no_success(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    stand_in.verdicts["successNotification"] = "Unknown"
    assert not asker.service().tell_issued(TRANSACTION, csr, NOTICE).is_success


def test_a_failure_is_told_of_in_at_most_255_characters(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    assert asker.service().tell_failed(TRANSACTION, csr, HResult.FAIL, "é" * 300).is_success
    (heard,) = stand_in.of("failureNotification")
    assert heard.content["errorDescription"] == "é" * 255
    assert heard.content["hResult"] == 0x80004005


FINAL: dict[str, Fault] = {
    "400": error(400, "BadRequest"),
    "403": error(403, "Forbidden"),
    "500": error(500),
    "502 without JSON": Said(502, b"bad gateway", {"Content-Type": "text/plain"}),
    "HTML": HTML,
    "another JSON": Said(200, ["Success"]),
    "no code": Said(200, {"errorDescription": ""}),
    "code is a number": Said(200, {"code": 0}),
    "code is empty": Said(200, {"code": ""}),
    "204": Said(204, b""),
    "nothing": Said(200, b""),
    "deep JSON": Said(200, b"[" * 200_000),
    "not UTF-8": Said(200, b'{"code": "\xff"}'),
    "too much": Said(200, b" " * (1 << 21)),
    "truncated": truncated,
    "no HTTP": not_http,
}


@pytest.mark.parametrize("fault", FINAL)
def test_what_decides_nothing_is_a_failure_and_asked_once(
    stand_in: StandIn, asker: Asker, csr: bytes, fault: str
) -> None:
    stand_in.always["validateRequest"] = FINAL[fault]
    with pytest.raises(Unavailable):
        asker.service().validate(TRANSACTION, csr)
    assert stand_in.acts.count("validateRequest") == 1
    assert "failureNotification" not in stand_in.acts


@pytest.mark.parametrize("fault", [never, dripping], ids=["silent", "dripping"])
def test_an_answer_that_does_not_come_is_waited_for_only_so_long(
    stand_in: StandIn, asker: Asker, csr: bytes, fault: Fault
) -> None:
    service = asker.hurried(asker.service())
    stand_in.always["validateRequest"] = fault
    with pytest.raises(Unavailable, match=r"no answer to ScepActions/validateRequest within 0\.3 seconds"):
        service.validate(TRANSACTION, csr)


def test_while_there_are_no_answers_one_at_a_time_finds_out(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    service = asker.hurried(asker.service())
    stand_in.always["validateRequest"] = never
    with pytest.raises(Unavailable):
        service.validate(TRANSACTION, csr)
    stand_in.always.clear()
    service.seconds = 60
    asked, go_on = threading.Event(), threading.Event()

    def slow(handler: Any) -> None:
        asked.set()
        go_on.wait(60)
        handler.say(Said(200, {"code": "Success", "errorDescription": ""}))

    stand_in.faults["validateRequest"].append(slow)
    found: list[Verdict] = []
    first = threading.Thread(target=lambda: found.append(service.validate(TRANSACTION, csr)))
    first.start()
    assert asked.wait(60)
    with pytest.raises(Unavailable, match="another request is asking"):
        service.validate(TRANSACTION, csr)
    go_on.set()
    first.join(60)
    assert found == [Verdict("Success")]
    assert service.validate(TRANSACTION, csr).is_success


def test_a_connection_that_breaks_is_tried_again_once(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    stand_in.faults["validateRequest"] += [reset]
    assert asker.service().validate(TRANSACTION, csr).is_success
    assert stand_in.acts.count("validateRequest") == 2
    stand_in.faults["validateRequest"] += [reset, reset]
    with pytest.raises(Unavailable):
        asker.service().validate(TRANSACTION, csr)
    assert stand_in.acts.count("validateRequest") == 4


def test_a_token_that_is_not_taken_is_replaced_once(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    service = asker.service()
    service.validate(TRANSACTION, csr)
    stand_in.tokens.clear()  # revoked, before their time
    assert service.validate(TRANSACTION, csr).is_success
    stand_in.always["validateRequest"] = error(401)
    stand_in.forget()
    with pytest.raises(Unavailable, match="401"):
        service.validate(TRANSACTION, csr)
    assert stand_in.acts.count("validateRequest") == 2


def test_a_permission_that_is_granted_later_stands_in_the_next_token(
    stand_in: StandIn, asker: Asker, csr: bytes
) -> None:
    stand_in.roles["intune"] = []
    stand_in.always["validateRequest"] = error(403)
    service = asker.service()
    with pytest.raises(Unavailable, match="scep_challenge_provider"):
        service.validate(TRANSACTION, csr)
    stand_in.always.clear()
    stand_in.roles["intune"] = ["scep_challenge_provider"]
    assert service.validate(TRANSACTION, csr).is_success
    assert stand_in.acts.count("token") >= 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_waited_for_twice(stand_in: StandIn, asker: Asker, csr: bytes, status: int) -> None:
    busy = error(status, "Throttled", Retry_After="7")
    stand_in.faults["validateRequest"] += [busy, error(status)]
    assert asker.service().validate(TRANSACTION, csr).is_success
    assert asker.pauses == [7.0, 1.0]
    stand_in.faults["validateRequest"] += [busy] * 3
    with pytest.raises(Unavailable, match=f"{status}"):
        asker.service().validate(TRANSACTION, csr)
    assert stand_in.acts.count("validateRequest") == 6


def test_a_busy_service_may_name_a_moment(stand_in: StandIn, asker: Asker, csr: bytes, clock: SetClock) -> None:
    at = (clock.now() + timedelta(seconds=5)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    stand_in.faults["validateRequest"] += [error(429, Retry_After=at)]
    assert asker.service().validate(TRANSACTION, csr).is_success
    assert asker.pauses == [5.0]


@pytest.mark.parametrize("wish", ["61", "999999999999999"])
def test_who_wants_longer_than_there_is_time_is_not_waited_for(
    stand_in: StandIn, asker: Asker, csr: bytes, wish: str
) -> None:
    stand_in.always["validateRequest"] = error(429, Retry_After=wish)
    with pytest.raises(Unavailable, match="429"):
        asker.service().validate(TRANSACTION, csr)
    assert asker.pauses == []
    assert stand_in.acts.count("validateRequest") == 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_service_that_has_moved_is_looked_up_once(stand_in: StandIn, asker: Asker, csr: bytes, status: int) -> None:
    service = asker.service()
    service.validate(TRANSACTION, csr)
    stand_in.moved = "/unit-2"
    stand_in.faults["validateRequest"] += [error(status)]
    assert service.validate(TRANSACTION, csr).is_success
    assert stand_in.heard[-1].path.startswith("/unit-2/")
    stand_in.forget()
    stand_in.always["validateRequest"] = error(status)
    with pytest.raises(Unavailable, match=f"{status}"):
        service.validate(TRANSACTION, csr)
    assert stand_in.acts == ["validateRequest", "endpoints"]


def test_after_a_failure_the_next_one_looks_where_the_service_is(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    service = asker.service()
    service.validate(TRANSACTION, csr)
    stand_in.faults["validateRequest"] += [error(500)]
    with pytest.raises(Unavailable):
        service.validate(TRANSACTION, csr)
    stand_in.forget()
    assert service.validate(TRANSACTION, csr).is_success
    assert stand_in.acts == ["endpoints", "validateRequest"]


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method_is_followed_within_the_service(
    stand_in: StandIn, asker: Asker, csr: bytes, status: int
) -> None:
    goal = f"{VALIDATION}/ScepActions/validateRequest"
    stand_in.faults["validateRequest"] += [Said(status, {}, {"Location": goal})]
    assert asker.service().validate(TRANSACTION, csr).is_success
    first, second = stand_in.of("validateRequest")
    assert (first.body, first.token) == (second.body, second.token)


@pytest.mark.parametrize(
    ("status", "goal"),
    [
        (307, "https://127.0.0.1:{port}/elsewhere"),
        (308, "http://localhost:{port}/elsewhere"),
        (307, "https://localhost.evil.example/elsewhere"),
        (307, "https://x@localhost:{port}/elsewhere"),
        (307, ""),
        (307, "https://[/"),
        (301, "https://localhost:{port}/elsewhere"),
        (302, "https://localhost:{port}/elsewhere"),
        (303, "https://localhost:{port}/elsewhere"),
    ],
)
def test_no_other_redirect_is_followed_and_no_token_goes_there(
    stand_in: StandIn, asker: Asker, csr: bytes, status: int, goal: str
) -> None:
    port = stand_in.url.rpartition(":")[2]
    stand_in.always["validateRequest"] = Said(status, {}, {"Location": goal.format(port=port)})
    with pytest.raises(Unavailable, match="redirects"):
        asker.service().validate(TRANSACTION, csr)
    assert "elsewhere" not in stand_in.acts


def test_redirects_that_go_round_end(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    stand_in.always["validateRequest"] = Said(307, {}, {"Location": ""})
    goal = f"{VALIDATION}/ScepActions/validateRequest"
    stand_in.always["validateRequest"] = Said(307, {}, {"Location": goal})
    with pytest.raises(Unavailable, match="redirects"):
        asker.service().validate(TRANSACTION, csr)
    assert stand_in.acts.count("validateRequest") == 3


def test_the_stand_in_itself_is_strict(stand_in: StandIn, asker: Asker) -> None:
    """What the client sends is not only accepted because everything is."""
    service = asker.service()
    url = f"{stand_in.url}{VALIDATION}/ScepActions/validateRequest"
    assert asker.https.request("POST", url, body=b"{}").status == 401
    token = stand_in.new_token("graph")
    assert asker.https.request("POST", url, body=b"{}", headers={"Authorization": f"Bearer {token}"}).status == 401
    token = stand_in.new_token("intune")
    assert asker.https.request("POST", url, body=b"{}", headers={"Authorization": f"Bearer {token}"}).status == 400
    assert service.validate(TRANSACTION, b"").code == "CertificateRequestDecodingFailed"


TOKEN_FAULTS: dict[str, tuple[Fault, str]] = {
    "wrong secret": (
        Said(401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."}),
        "take the secret's Value",
    ),
    "expired secret": (
        Said(401, {"error": "invalid_client", "error_description": "AADSTS7000222: it has expired"}),
        "has expired",
    ),
    "HTML": (HTML, "without a JSON object"),
    "no token": (Said(200, {"expires_in": 3599}), "without a token"),
    "a token with a line break": (Said(200, {"access_token": "a\r\nX: y", "expires_in": 3599}), "without a token"),
    "a token that is no text": (Said(200, {"access_token": 7, "expires_in": 3599}), "without a token"),
    "no time": (Said(200, {"access_token": "a"}), "how long"),
    "no time left": (Said(200, {"access_token": "a", "expires_in": 0}), "how long"),
    "a time that is true": (Said(200, {"access_token": "a", "expires_in": True}), "how long"),
    "500": (Said(500, b"oops"), "500"),
    "reset": (reset, "localhost"),
    "moved": (Said(302, {}, {"Location": "https://localhost/elsewhere"}), "redirects"),
}


@pytest.mark.parametrize("fault", TOKEN_FAULTS)
def test_without_a_token_nothing_is_asked(stand_in: StandIn, asker: Asker, csr: bytes, fault: str) -> None:
    stand_in.always["token"], said = TOKEN_FAULTS[fault]
    with pytest.raises(Unavailable, match=said):
        asker.service().validate(TRANSACTION, csr)
    assert "validateRequest" not in stand_in.acts


def test_a_short_lived_token_is_not_kept(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    stand_in.expires_in = 60
    service = asker.service()
    for _ in range(2):
        assert service.validate(TRANSACTION, csr).is_success
    assert stand_in.acts.count("token") == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client_secret": Secret(b"wrong")}, "take the secret's Value"),
        ({"client_id": str(uuid.UUID(int=7))}, "no application with this client_id"),
        ({"tenant_id": str(uuid.UUID(int=7))}, "no such tenant"),
        ({"tenant_id": "../common"}, "no such tenant"),
    ],
)
def test_what_is_declared_wrongly_is_said(
    stand_in: StandIn, asker: Asker, csr: bytes, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(Unavailable, match=said) as failure:
        asker.service(**changes).validate(TRANSACTION, csr)
    assert "wrong" not in failure.value.detail


def test_a_resource_of_another_cloud_is_said(asker: Asker, csr: bytes) -> None:
    with pytest.raises(Unavailable, match="another cloud"):
        asker.service(resource_url="https://api.manage.microsoft.us/").validate(TRANSACTION, csr)


def test_secrets_and_tokens_stand_in_no_log_and_no_error(
    stand_in: StandIn, asker: Asker, csr: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service = asker.service()
    service.validate(TRANSACTION, csr)
    stand_in.always["validateRequest"] = error(500)
    with pytest.raises(Unavailable) as failure:
        service.validate(TRANSACTION, csr)
    texts = f"{caplog.text}{failure.value!r}{asker.access!r}{service.line!r}{list(service.line.tokens._known.values())}"
    assert asker.access.client_secret.reveal().decode() not in texts
    assert not any(token in texts for token in stand_in.tokens)


GRAPH_FAULTS: dict[str, tuple[Fault, str]] = {
    "forbidden": (error(403, "Authorization_RequestDenied", "Insufficient privileges"), "Application.Read.All"),
    "not listed": (Said(200, {"value": []}), "no ScepRequestValidationFEService"),
    "no list": (Said(200, {"values": []}), "without a list"),
    "a list of nothing": (Said(200, {"value": [None, 7, {"uri": "https://x/"}]}), "no ScepRequestValidationFEService"),
    "plain HTTP": (
        Said(200, {"value": [{"providerName": "ScepRequestValidationFEService", "uri": "http://localhost/"}]}),
        "no ScepRequestValidationFEService",
    ),
    "no URL": (
        Said(200, {"value": [{"providerName": "ScepRequestValidationFEService", "uri": "https://["}]}),
        "no ScepRequestValidationFEService",
    ),
    "HTML": (HTML, "without a JSON object"),
    "500": (error(500), "500"),
    "401 again and again": (error(401), "401"),
}


@pytest.mark.parametrize("fault", GRAPH_FAULTS)
def test_a_service_that_is_not_found_is_not_asked(stand_in: StandIn, asker: Asker, csr: bytes, fault: str) -> None:
    stand_in.always["endpoints"], said = GRAPH_FAULTS[fault]
    with pytest.raises(Unavailable, match=said):
        asker.service().validate(TRANSACTION, csr)
    assert "validateRequest" not in stand_in.acts


def test_who_is_found_later_is_asked_then(stand_in: StandIn, asker: Asker, csr: bytes) -> None:
    service = asker.service()
    stand_in.endpoints = []
    with pytest.raises(Unavailable):
        service.validate(TRANSACTION, csr)
    stand_in.endpoints = None
    assert service.validate(TRANSACTION, csr).is_success


def test_revocations_are_fetched_and_answered(stand_in: StandIn, asker: Asker) -> None:
    service = asker.service()
    assert service.download_revocations() == ()
    context = stand_in.revoke("0A1B")
    assert service.download_revocations() == (RevocationRequest(context, "0A1B", "CN=whoever"),)
    service.upload_revocations([RevocationAnswer(context)])
    assert stand_in.results == [
        {"requestContext": context, "succeeded": True, "errorCode": "None", "errorMessage": None}
    ]
    assert stand_in.of("downloadRevocationRequests")[0].json == {
        "downloadParameters": {"maxRequests": 50, "issuerName": None}
    }


def test_a_result_that_may_be_tried_again_is_queued_again(stand_in: StandIn, asker: Asker) -> None:
    service = asker.service()
    context = stand_in.revoke("0A1B")
    service.download_revocations()
    service.upload_revocations([RevocationAnswer(context, RevocationResult.RETRYABLE, "the database is busy")])
    assert [one.context for one in service.download_revocations()] == [context]


@pytest.mark.parametrize(
    "body", [{}, {"value": None}, {"value": {}}, {"value": [7]}, {"value": [{"serialNumber": "1"}]}]
)
def test_a_queue_that_cannot_be_read_is_a_failure(stand_in: StandIn, asker: Asker, body: Any) -> None:
    stand_in.always["downloadRevocationRequests"] = Said(200, body)
    with pytest.raises(Unavailable):
        asker.service().download_revocations()


@pytest.mark.parametrize(
    ("value", "is_taken"), [("true", True), ("True", True), (False, False), ("false", False), (1, False), (None, False)]
)
def test_results_are_taken_when_it_says_so(stand_in: StandIn, asker: Asker, value: Any, is_taken: bool) -> None:
    stand_in.always["uploadRevocationResults"] = Said(200, {"value": value})
    if is_taken:
        asker.service().upload_revocations([])
    else:
        with pytest.raises(Unavailable, match="did not take"):
            asker.service().upload_revocations([])
