"""Links over HTTP: claims with a CSR, profiles; what is said to whom, and what never reaches a log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from tests.endpoints.client import Client, client_of
from tests.enrolment.office import Office, token_of
from tests.revocation.pki import PKI
from tests.world import OPERATOR, World, make_csr

JANE = "email:jane@corp.example"


@pytest.fixture
def office(sqlite_world: World) -> Office:
    made = Office(sqlite_world)
    made.declare()
    return made


@pytest.fixture
def client(office: Office) -> Client:
    return client_of(PKI(office.world))


def apple(office: Office) -> str:
    return token_of(office.preapprove(JANE, template="issuing/device", subject="CN=Jane's iPad", apple=True))


@pytest.mark.row("F19")
def test_a_certificate_is_claimed_with_a_csr(office: Office, client: Client) -> None:
    token, csr = token_of(office.preapprove(JANE)), make_csr("", ())
    page = client.get(f"/claim/{token}")
    assert page.status == 200
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"https://pki.corp.example/claim/{token}" in page.text
    assert JANE in page.text
    for header, value in (
        ("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex"),
        ("x-content-type-options", "nosniff"),
    ):  # fmt: skip
        assert page.headers[header] == value
    answer = client.post(f"/claim/{token}", csr)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pem-certificate-chain")
    leaf, issuing = x509.load_pem_x509_certificates(answer.body)
    leaf.verify_directly_issued_by(issuing)
    assert client.post(f"/claim/{token}", csr).body == answer.body
    assert client.post(f"/claim/{token}", make_csr("", ())).status == 410
    assert client.get(f"/claim/{token}").status == 410


def test_openssl_makes_the_request_that_the_page_tells_of(office: Office, client: Client, tmp_path: object) -> None:
    from pathlib import Path

    from tests.tools import accepted, run_tool

    folder = Path(str(tmp_path))
    accepted(
        run_tool("openssl", "req", "-new", "-newkey", "rsa:3072", "-noenc", "-keyout", folder / "key.pem", "-subj", "/",
                 "-out", folder / "request.pem")
    )  # fmt: skip
    token = token_of(office.preapprove(JANE))
    assert client.post(f"/claim/{token}", (folder / "request.pem").read_bytes()).status == 200


@pytest.mark.parametrize(
    ("csr", "status", "said"),
    [
        (b"", 400, ""),
        (b"x" * 70_000, 400, "more than"),
        (make_csr("Mallory", ()), 403, "not what was approved"),
        (make_csr("", ("other.example",)), 403, "was not approved"),
    ],
)
def test_what_uses_no_link_up(office: Office, client: Client, csr: bytes, status: int, said: str) -> None:
    token = token_of(office.preapprove(JANE))
    answer = client.post(f"/claim/{token}", csr)
    assert answer.status == status
    assert said in answer.text
    assert client.post(f"/claim/{token}", make_csr("", ())).status == 200


@pytest.mark.parametrize(
    "path",
    ["/claim/", "/claim/x", f"/claim/{'A' * 43}", "/claim/%00", f"/claim/{'A' * 43}/", "/claim/%F0%9F%92%A9",
     "/profile/", f"/profile/{'A' * 43}", f"/profile/{'A' * 43}.mobileconfig", "/profile/.mobileconfig",
     "/profile/%2e%2e.mobileconfig"],
)  # fmt: skip
def test_what_leads_nowhere(office: Office, client: Client, path: str) -> None:
    office.preapprove(JANE)
    apple(office)
    for method in ("GET", "HEAD"):
        assert client.request(method, path).status == 404
    assert client.post(path, make_csr("", ())).status in (404, 405)


@pytest.mark.row("F127")
def test_a_profile_is_fetched(office: Office, client: Client) -> None:
    path = f"/profile/{apple(office)}.mobileconfig"
    head = client.request("HEAD", path)
    assert (head.status, head.headers["cache-control"]) == (200, "no-store")
    assert office.rows("SELECT fetches FROM enrolment_grant") == [(0,)]
    answer = client.get(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == head.headers["content-type"] == "application/x-apple-aspen-config"
    assert answer.headers["content-disposition"] == 'attachment; filename="device.mobileconfig"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body.startswith(b"\x30\x82")
    office.world.pass_time(timedelta(hours=1))
    for method in ("GET", "HEAD"):
        gone = client.request(method, path)
        assert (gone.status, "used already" in gone.text) == (410, method == "GET")


def test_a_link_that_ended(office: Office, client: Client) -> None:
    claimed, path = token_of(office.preapprove(JANE)), f"/profile/{apple(office)}.mobileconfig"
    for number in (1, 2):
        office.world.services.requests.decline(number, "lost", OPERATOR)
    for target in (f"/claim/{claimed}", path):
        answer = client.get(target)
        assert (answer.status, answer.headers["cache-control"]) == (410, "no-store")
        assert "taken back" in answer.text
    assert client.post(path, b"").status == 405


def test_no_log_tells_a_link(
    office: Office, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from pkiconf.endpoints.app import create_app
    from pkiconf.settings import ProcessSettings

    claimed, fetched = token_of(office.preapprove(JANE)), apple(office)
    for form in ("text", "json"):
        client = Client(create_app(office.world.services, ProcessSettings(access_log=form)), PKI(office.world))
        for path in (
            f"/claim/{claimed}", f"/claim/{claimed}/", f"/Claim/{claimed}", f"//claim/{claimed}",
            f"/profile/{fetched}.mobileconfig", f"/profile/{fetched}", f"/profile/{fetched}.mobileconfig/x?y={'z' * 9}",
        ):  # fmt: skip
            client.get(path)
    said = capsys.readouterr().out + caplog.text
    assert "/claim/..." in said
    assert claimed not in said
    assert fetched not in said


def test_what_fails_inside_tells_no_link_either(
    office: Office, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = token_of(office.preapprove(JANE))

    def fail(self: object, token: str) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("pkiconf.enrolment.claims.Claims.look", fail)
    assert client.get(f"/claim/{token}").status == 500
    assert "a fault" in caplog.text
    assert token not in caplog.text.replace(str(fail), "")
