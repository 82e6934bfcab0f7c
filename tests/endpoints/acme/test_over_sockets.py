"""Refusals again, over sockets: every resource and every type of problem (RFC 8555 §6.7), from a real server whose
front reads HTTP by itself, with the database as it was. The tests are those that ask the application."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from pkiconf.endpoints.acme.door import LARGEST_BODY
from pkiconf.endpoints.wsgi import App
from tests.acme.place import Place
from tests.endpoints.acme import (
    test_accounts_http,
    test_authorizations_http,
    test_directory,
    test_door,
    test_orders_http,
    test_problems_http,
    test_revocation_http,
)
from tests.endpoints.acme.refusals import is_refusal, nothing_changes
from tests.endpoints.acme.sockets import prepare, served_place
from tests.endpoints.acme.wire import BASE, JOSE, Wire, declare_settings


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, App]]:
    with served_place(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture
def wire(served: tuple[Place, App]) -> Wire:
    return prepare(*served)


@pytest.fixture
def lite(wire: Wire) -> Wire:
    return wire


AGAIN: dict[ModuleType, tuple[str, ...]] = {
    test_door: (
        "test_a_post_without_a_jws_is_refused_everywhere",
        "test_another_media_type_is_refused",
        "test_a_header_that_is_not_as_it_should_be",
        "test_jwk_and_kid_together_are_refused",
        "test_jwk_where_kid_belongs_and_the_other_way_round",
        "test_other_algorithms_are_refused_with_those_there_are",
        "test_a_signature_that_does_not_hold",
        "test_a_url_that_is_not_the_one_it_was_sent_to",
        "test_no_url_is_malformed",
        "test_a_kid_is_an_account_url_to_the_last_character",
        "test_an_account_that_has_ended_does_nothing_any_more",
        "test_a_replayed_request_is_refused",
        "test_every_answer_has_a_nonce_that_works",
        "test_what_is_fetched_takes_the_empty_payload_alone",
        "test_what_takes_a_wish_refuses_the_empty_payload",
        "test_another_method_is_not_allowed",
        "test_what_does_not_exist_is_malformed",
    ),
    test_accounts_http: (
        "test_a_key_without_an_account_is_not_found",
        "test_a_wish_that_cannot_be_granted",
        "test_a_weak_rsa_key_makes_no_account",
        "test_a_change_that_cannot_be",
        "test_deactivation_is_final",
        "test_another_accounts_url_is_not_ones_own",
        "test_a_cursor_that_is_none",
        "test_a_key_that_another_account_has_is_refused_with_its_location",
        "test_a_key_change_that_does_not_hold",
    ),
    test_directory: ("test_an_unknown_policy_has_no_directory", "test_new_nonce"),
    test_orders_http: (
        "test_an_order_that_cannot_be",
        "test_several_bad_names_make_subproblems",
        "test_another_accounts_things_are_not_shown",
        "test_what_is_unknown_is_not_found",
        "test_an_escaped_slash_makes_no_other_url",
        "test_a_pending_order_is_not_ready",
        "test_a_bad_csr_leaves_the_order_ready",
        "test_finalized_again_it_is_the_same_order",
        "test_a_certificate_is_served_under_its_chains",
        "test_there_is_no_certificate_before_it_is_issued",
    ),
    test_authorizations_http: (
        "test_what_is_no_object_accepts_nothing",
        "test_another_challenge_is_not_there",
        "test_why_it_failed_is_shown",
        "test_nothing_else_is_done_to_one",
        "test_what_cannot_be_authorized",
    ),
    test_problems_http: (
        "test_names_outside_the_binding",
        "test_problems_of_several_kinds_are_a_compound",
    ),
    test_revocation_http: (
        "test_an_account_revokes_what_it_ordered",
        "test_a_key_that_is_not_the_certificates_does_not",
        "test_a_reason_that_a_client_may_not_give",
        "test_what_is_no_certificate",
        "test_what_is_no_certificate_here",
        "test_an_order_replaces_a_certificate_once",
    ),
}
for module, names in AGAIN.items():
    globals().update({name: getattr(module, name) for name in names})


def test_without_a_binding_nobody_registers_over_sockets(wire: Wire) -> None:
    """§7.3.4: externalAccountRequired, where all policies meet."""
    new = test_accounts_http.stranger(wire)
    with nothing_changes(wire):
        reply = new.post(f"{BASE}/acme/new-account", {"termsOfServiceAgreed": True}, jwk=new.key.jwk)
        is_refusal(reply, "externalAccountRequired", 403, "key identifier")


def test_terms_have_to_be_agreed_to_over_sockets(wire: Wire) -> None:
    """§7.3.3: userActionRequired, with the terms."""
    declare_settings(wire.place, acme={"terms_of_service": "http://pki.example/terms"})
    try:
        new = test_accounts_http.stranger(wire)
        with nothing_changes(wire):
            reply = new.post(test_accounts_http.OPEN, {"termsOfServiceAgreed": False}, jwk=new.key.jwk)
            is_refusal(reply, "userActionRequired", 403, "http://pki.example/terms")
            assert '<http://pki.example/terms>;rel="terms-of-service"' in reply.all("link")
    finally:
        declare_settings(wire.place)


def test_too_many_orders_over_sockets(wire: Wire) -> None:
    """§6.6: rateLimited, 429, with Retry-After in seconds."""
    wire.place.policy(rate_limits={"orders_per_account": {"count": 1, "per": "1h"}})
    assert wire.order("a.corp.example").status == 201
    with nothing_changes(wire):
        reply = wire.order("a.corp.example")
        is_refusal(reply, "rateLimited", 429, "come back in")
        assert 0 < int(reply.headers["retry-after"]) <= 3600


def test_a_body_that_is_too_long_over_sockets(wire: Wire) -> None:
    """§6.7: malformed, 413; also where the client names its length and the server reads none of it."""
    with nothing_changes(wire):
        reply = wire.send("POST", "/acme/new-order", b" " * (LARGEST_BODY + 1), {"content_type": JOSE})
        is_refusal(reply, "malformed", 413)
