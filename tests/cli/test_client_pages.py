"""What is printed for those who set up a client."""

from __future__ import annotations

import re

import pytest

from pkiconf.cli.client_pages import CLIENTS, client_page
from pkiconf.errors import NotFound
from tests.cli.conftest import QUICKSTART, CommandLine

DIRECTORY = "https://pki.corp.example/acme/p/internal/directory"


@pytest.mark.row("F109")
@pytest.mark.parametrize("name", CLIENTS)
def test_a_page_names_the_directory_and_where_the_credentials_go(name: str) -> None:
    page = client_page(name, DIRECTORY, policy="internal")
    assert page.startswith("# ")
    assert DIRECTORY in page
    assert "policy `internal`" in page
    assert re.search(r"ACME_EAB_KID|KEY-ID", page)
    assert re.search(r"ACME_EAB_HMAC_KEY|HMAC-KEY", page)
    assert "127.0.0.1:8000" not in page
    assert "{{" not in page
    assert "<!--" not in page
    assert page.count("```") % 2 == 0
    assert "\n\n\n" not in page


@pytest.mark.row("F110")
def test_certify_the_web_is_told_every_field_of_its_dialogue() -> None:
    page = client_page("certify-the-web", DIRECTORY)
    for field in ("Title", "Production API URL", "Staging API URL", "Enabled", "Requires email address",
                  "Allow untrusted TLS", "Allow internal hostnames", "Advanced"):  # fmt: skip
        assert field in page


def test_a_walkthrough_is_for_readers_only() -> None:
    assert "pkiconf up" in client_page("certbot", DIRECTORY, walkthrough=True)
    assert "pkiconf up" not in client_page("certbot", DIRECTORY)
    assert "CERTBOT_CONFIG" not in client_page("certbot", DIRECTORY)


def test_an_unknown_client_is_told_the_known_ones() -> None:
    with pytest.raises(NotFound) as told:
        client_page("certbott", DIRECTORY)
    assert "certbot" in told.value.hint


def test_the_command_prints_this_pkis_own_directory(pki: CommandLine) -> None:
    declaration = pki.folder / "acme.yaml"
    declaration.write_text(
        QUICKSTART.read_text().replace("http://127.0.0.1:8000", "https://pki.corp.example")
        + "\nacme_policies: [{ name: internal, template: corp-issuing/web-server }]\n"
    )
    pki.ok("apply", declaration, "--yes")
    assert "--server https://pki.corp.example/acme/directory" in pki.ok("acme", "client", "lego").out
    said = pki.ok("acme", "client", "caddy", "--policy", "internal").out
    assert "acme_ca https://pki.corp.example/acme/p/internal/directory" in said


def test_a_client_or_policy_that_is_not_there_is_told(pki: CommandLine) -> None:
    assert "certbot" in pki.refuses(64, "acme", "client", "certbott")
    assert "nothing" in pki.refuses(1, "acme", "client", "certbot", "--policy", "nothing")
