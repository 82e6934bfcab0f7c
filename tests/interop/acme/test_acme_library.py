"""The `acme` library that certbot is made of, driven directly: what certbot itself never does is here too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from acme import challenges, client, errors, jws, messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from josepy.jwa import ES256, RS256
from josepy.jwk import JWKEC, JWKRSA

from tests.acme_world import challenge_responder
from tests.interop.acme.pki import PKI
from tests.world import make_csr

AGENT = "pkiconf-tests"


@dataclass
class Holder:
    """A client with its account key."""

    pki: PKI
    key: Any
    alg: Any
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        net = client.ClientNetwork(self.key, alg=self.alg, user_agent=AGENT)
        self.acme = client.ClientV2(client.ClientV2.get_directory(self.pki.directory, net), net)

    def register(self, **more: Any) -> messages.RegistrationResource:
        binding = messages.ExternalAccountBinding.from_data(
            self.key.public_key(), self.pki.kid, self.pki.hmac_key, self.acme.directory, hmac_alg="HS256"
        )
        self.acme.net.account = None  # else the library would sign by kid
        made = self.acme.new_account(messages.NewRegistration.from_data(
            email="ops@corp.example", terms_of_service_agreed=True, external_account_binding=binding, **more
        ))  # fmt: skip
        # What it keeps of the binding it cannot send again; certbot reads the account from a file first.
        self.acme.net.account = made.update(body=made.body.update(external_account_binding=None))
        return self.acme.net.account

    def order(self, *names: str) -> messages.OrderResource:
        return self.acme.new_order(make_csr(names[0], names))

    def answer(self, order: messages.OrderResource) -> None:
        for authorization in order.authorizations:
            body = next(one for one in authorization.body.challenges if isinstance(one.chall, challenges.HTTP01))
            response, validation = body.response_and_validation(self.key)
            self.tokens[body.chall.encode("token")] = validation
            self.acme.answer_challenge(body, response)


def rsa_key() -> Any:
    return JWKRSA(key=rsa.generate_private_key(65537, 2048))


def ec_key() -> Any:
    return JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(autouse=True)
def _trusted(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pki.root))


@pytest.fixture(params=[(rsa_key, RS256), (ec_key, ES256)], ids=["RS256", "ES256"])
def holder(request: pytest.FixtureRequest, pki: PKI) -> Holder:
    make, alg = request.param
    return Holder(pki, make(), alg)


@pytest.fixture
def answering(holder: Holder) -> Iterator[Holder]:
    """Its http-01 tokens are given out where this PKI looks for them."""
    with challenge_responder(holder.tokens, holder.pki.http):
        yield holder


@pytest.mark.row("F97")
@pytest.mark.row("F98")
@pytest.mark.row("F113")
def test_the_whole_way(answering: Holder, tmp_path: Path) -> None:
    holder, name = answering, f"library-{answering.alg.name.lower()}.corp.example"
    account = holder.register()
    order = holder.order(name, f"www.{name}")
    assert order.body.status == messages.STATUS_PENDING
    holder.answer(order)
    done = holder.acme.poll_and_finalize(order)
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(done.fullchain_pem)
    holder.pki.verified(leaf, name=f"www.{name}")
    orders = holder.acme.net.post(account.uri, None).json()["orders"]
    listed = holder.acme.net.post(orders, None)
    assert order.uri in listed.json()["orders"]
    certificate = x509.load_pem_x509_certificate(done.fullchain_pem.encode())
    start, _ = holder.acme.renewal_time(certificate.public_bytes(Encoding.PEM))
    assert start is not None
    assert certificate.not_valid_before_utc < start < certificate.not_valid_after_utc
    holder.acme.revoke(certificate, 4)
    assert holder.pki.is_revoked(leaf, "issuing")
    start, _ = holder.acme.renewal_time(certificate.public_bytes(Encoding.PEM))
    assert start is not None
    assert start < certificate.not_valid_after_utc
    with pytest.raises(messages.Error) as told:
        holder.acme.revoke(certificate, 4)
    assert told.value.code == "alreadyRevoked"


def test_a_key_change(holder: Holder) -> None:
    account = holder.register()
    new, url = ec_key(), holder.acme.directory["keyChange"]
    answer = holder.acme.net.post(url, _key_change(holder.key, new, account.uri, url))
    assert answer.status_code == 200
    with pytest.raises(messages.Error) as told:
        holder.acme.query_registration(account)
    assert told.value.code in ("unauthorized", "accountDoesNotExist", "malformed")
    changed = Holder(holder.pki, new, ES256)
    changed.acme.net.account = account
    assert changed.acme.query_registration(account).body.status == "valid"


def _key_change(old: Any, new: Any, account: str, url: str) -> Any:
    """The inner JWS of RFC 8555 §7.3.5, by the new key."""
    payload = json.dumps({"account": account, "oldKey": old.public_key().to_json()}).encode()
    return jws.JWS.sign(payload, new, ES256, nonce=None, url=url, kid=None)


def test_a_deactivated_account_can_do_nothing(holder: Holder) -> None:
    account = holder.register()
    gone = holder.acme.deactivate_registration(account)
    assert str(gone.body.status) in ("deactivated", str(messages.STATUS_DEACTIVATED))
    with pytest.raises(messages.Error) as told:
        holder.order("late.corp.example")
    assert told.value.code == "unauthorized"


def test_an_authorization_is_given_up(holder: Holder) -> None:
    holder.register()
    order = holder.order(f"given-up-{holder.alg.name.lower()}.corp.example")
    gone = holder.acme.deactivate_authorization(order.authorizations[0])
    assert str(gone.body.status) in ("deactivated", str(messages.STATUS_DEACTIVATED))


def test_a_key_that_is_known_gets_its_account(holder: Holder) -> None:
    account = holder.register()
    with pytest.raises(errors.ConflictError) as told:
        holder.register()
    assert told.value.location == account.uri


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("elsewhere.example",), "rejectedIdentifier"),
        (("fine.corp.example", "elsewhere.example"), "rejectedIdentifier"),
    ],
)
def test_refusals_reach_the_library_as_what_they_are(pki: PKI, names: tuple[str, ...], code: str) -> None:
    holder = Holder(pki, ec_key(), ES256)
    holder.register()
    with pytest.raises(messages.Error) as told:
        holder.order(*names)
    assert told.value.code == code
    assert "elsewhere.example" in str(told.value)


def test_nobody_registers_without_a_binding(pki: PKI) -> None:
    holder = Holder(pki, ec_key(), ES256)
    assert holder.acme.external_account_required()
    with pytest.raises(messages.Error) as told:
        holder.acme.new_account(
            messages.NewRegistration.from_data(email="a@corp.example", terms_of_service_agreed=True)
        )
    assert told.value.code == "externalAccountRequired"
