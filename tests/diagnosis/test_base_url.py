"""URLs that nothing of this installation answers at."""

from __future__ import annotations

from typing import Any

import pytest

from pkiconf.diagnosis.base_url import check_base_url, unserved
from pkiconf.diagnosis.finding import Severity
from pkiconf.settings import ProcessSettings
from pkiconf.spec.settings import Settings
from tests.world import World

SERVED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the default": ({}, {}),
    "the same port": ({"base_url": "http://127.0.0.1:8011"}, {"bind": "127.0.0.1:8011"}),
    "every address": ({"base_url": "http://127.0.0.1:8011/"}, {"bind": "0.0.0.0:8011"}),
    "the port of http": ({"base_url": "http://localhost"}, {"bind": "[::1]:80"}),
    "a name, so a proxy may be there": ({"base_url": "http://pki.corp.example"}, {"bind": "127.0.0.1:8011"}),
    "another address": ({"base_url": "http://10.0.0.5:9000"}, {"bind": "127.0.0.1:8011"}),
    "a proxy with TLS before it": (
        {"base_url": "https://pki.corp.example", "urls": {"status": "http://pki.corp.example"}},
        {"bind": "127.0.0.1:8011"},
    ),
    "by TLS": (
        {"base_url": "http://localhost:8011", "urls": {"enrolment": "https://localhost:8443"}},
        {"bind": "127.0.0.1:8011", "tls_bind": "127.0.0.1:8443"},
    ),
}


@pytest.mark.parametrize(("declared", "listeners"), SERVED.values(), ids=SERVED.keys())
def test_what_may_well_be_served_is_not_warned_of(declared: dict[str, Any], listeners: dict[str, Any]) -> None:
    assert unserved(Settings.model_validate(declared), ProcessSettings(**listeners)) is None


ASTRAY: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing declared": (
        {}, "certificates begin with http://127.0.0.1:8000", "base_url: http://127.0.0.1:8011",
    ),
    "another port": (
        {"base_url": "http://localhost:8012"}, "begin with http://localhost:8012", "base_url: http://localhost:8011",
    ),
    "no port": ({"base_url": "http://[::1]"}, "listen on port 80", "base_url: http://[::1]:8011"),
    "of the status": (
        {"base_url": "http://127.0.0.1:8011", "urls": {"status": "http://127.0.0.1:1"}},
        "certificates begin with http://127.0.0.1:1", "urls: { status: http://127.0.0.1:8011 }",
    ),
    "of enrolment": (
        {"base_url": "http://127.0.0.1:8011", "urls": {"enrolment": "https://127.9.9.9"}},
        "ACME and SCEP begin with https://127.9.9.9", "urls: { enrolment: http://127.9.9.9:8011 }",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("declared", "words", "remedy"), ASTRAY.values(), ids=ASTRAY.keys())
def test_what_leads_nowhere_is_told_with_what_to_declare(declared: dict[str, Any], words: str, remedy: str) -> None:
    found = unserved(Settings.model_validate(declared), ProcessSettings(bind="127.0.0.1:8011"))
    assert found is not None
    assert found.severity is Severity.WARNING
    assert words in found.text
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("declared", "listeners", "words", "remedy"),
    [
        (
            {"base_url": "http://localhost:8443"}, {"tls_bind": "127.0.0.1:8443"},
            "begin with http://localhost:8443, and this server does not listen on port 8443 by http",
            "base_url: http://localhost:8011",
        ),
        (
            {"base_url": "http://localhost:8011", "urls": {"enrolment": "https://localhost:8011"}}, {},
            "begin with https://localhost:8011, and this server does not listen on port 8011 by https",
            "urls: { enrolment: http://localhost:8011 }",
        ),
        (
            {"base_url": "http://localhost:8011", "urls": {"enrolment": "https://localhost:8011"}},
            {"tls_bind": "127.0.0.1:8443"},
            "begin with https://localhost:8011, and this server does not listen on port 8011 by https",
            "urls: { enrolment: https://localhost:8443 }",
        ),
        (
            {"base_url": "https://[::1]:1", "urls": {"status": "http://[::1]:8011"}}, {"tls_bind": "[::1]:8443"},
            "ACME and SCEP begin with https://[::1]:1, and this server does not listen on port 1",
            "base_url: https://[::1]:8443",
        ),
    ],
    ids=["http where there is TLS", "https where there is none", "https elsewhere", "https elsewhere, of everything"],
)  # fmt: skip
def test_a_port_answers_to_one_scheme(
    declared: dict[str, Any], listeners: dict[str, Any], words: str, remedy: str
) -> None:
    found = unserved(Settings.model_validate(declared), ProcessSettings(bind="127.0.0.1:8011", **listeners))
    assert found is not None
    assert words in found.text
    assert remedy in found.remedy


def test_it_is_judged_only_by_a_listener_that_is_known(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag of another process is not seen; a variable is."""

    def severities() -> list[Severity]:
        settings = ProcessSettings()
        return [f.severity for f in sqlite_world.parts.db.read(lambda c: list(check_base_url(c, settings)))]

    monkeypatch.delenv("PKICONF_BIND", raising=False)
    sqlite_world.apply('settings: {base_url: "http://127.0.0.1:8011"}')
    assert severities() == []
    monkeypatch.setenv("PKICONF_BIND", "127.0.0.1:8011")
    assert severities() == [Severity.OK]
    monkeypatch.setenv("PKICONF_BIND", "127.0.0.1:8000")
    assert severities() == [Severity.WARNING]
