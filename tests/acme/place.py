"""ACME in a test: a PKI with policies, accounts of them, and what their clients do."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.acme.accounts import Registration
from pkiconf.acme.bindings import OpenBinding
from pkiconf.acme.settle import settle
from pkiconf.clock import to_epoch
from pkiconf.der.pem import pem_decode_all
from pkiconf.model.acme import (
    Account,
    AccountKey,
    ACMEProblem,
    ChallengeType,
    Identifier,
    Order,
    OrderStatus,
    OrderWish,
    Problem,
    ProblemType,
)
from pkiconf.model.secret import Secret
from pkiconf.policy.acme import parse_identifiers
from pkiconf.spec.acme import ACMEPolicySpec, BindingSpec
from pkiconf.steps import Step
from pkiconf.store import acme_authorizations, acme_policies
from pkiconf.store.database import Connection
from tests.world import World, make_csr

PKI = "authorities: [{ name: root }, { name: issuing, issuer: root }]"
TEMPLATE = "issuing/web-server"


def identifiers(*values: str) -> tuple[Identifier, ...]:
    """Names and addresses as a client would send them."""
    return parse_identifiers([{"type": "ip" if _is_address(value) else "dns", "value": value} for value in values])


def _is_address(value: str) -> bool:
    return ":" in value or value.replace(".", "").isdigit()


def make_account_key(private: ec.EllipticCurvePrivateKey | None = None) -> AccountKey:
    public = (private or ec.generate_private_key(ec.SECP256R1())).public_key()
    numbers = public.public_numbers()
    jwk = json.dumps(
        {"crv": "P-256", "kty": "EC", "x": _b64(numbers.x.to_bytes(32)), "y": _b64(numbers.y.to_bytes(32))},
        sort_keys=True, separators=(",", ":"),
    )  # fmt: skip
    thumbprint = _b64(hashlib.sha256(jwk.encode()).digest())
    return AccountKey(thumbprint, jwk, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def der_csr(*names: str, key: Any = None, common_name: str = "") -> bytes:
    """A request for DNS names, made by a stranger's library."""
    return pem_decode_all(make_csr(common_name, names, key), "CERTIFICATE REQUEST")[0]


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """All of them in threads that begin together; what each returned or raised."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        gate.wait(30)
        try:
            return act()
        except Exception as ex:
            return ex

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


@dataclass
class Place:
    """`policies` are the ids of policies by name."""

    world: World
    policies: dict[str, int] = field(default_factory=dict)

    @property
    def acme(self) -> Any:
        return self.world.services.acme

    @property
    def now(self) -> int:
        return to_epoch(self.world.clock.now())

    def write(self, step: Step, fn: Any) -> Any:
        return self.world.parts.db.write(step, fn)

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        from sqlalchemy import text

        return self.world.parts.db.read(lambda c: [tuple(row) for row in c.execute(text(statement), values)])

    def sql(self, statement: str) -> None:
        """Something that nobody does over ACME."""
        self.write(Step.SETTINGS_WRITE, lambda c: c.exec_driver_sql(statement))

    def policy(self, name: str = "internal", **spec: Any) -> int:
        """A policy by its row; `spec` as in YAML. Declared again, it changes."""
        given = {"profiles": {"default": spec.pop("template", None) or TEMPLATE}, **spec}
        declared = {"name": name, "external_account_required": False, **given}
        text = ACMEPolicySpec.model_validate(declared).model_dump_json()

        def write(c: Connection) -> int:
            row = acme_policies.find_policy(c, name)
            if row is None:
                return acme_policies.add_policy(
                    c, slug=name, name=name, owner="yaml:default", spec=text, spec_digest="", created_at=self.now
                )
            lifecycle = "retired" if spec.get("state") == "absent" else "active"
            acme_policies.update_policy(
                c, row, row.generation, name=name, owner=row.owner, lifecycle=lifecycle, spec=text, spec_digest=""
            )
            return row.id

        number: int = self.write(Step.ACME_POLICY_WRITE, write)
        self.policies[name] = number
        return number

    def binding(self, name: str = "ci", policy: str = "internal", **spec: Any) -> OpenBinding:
        """A binding by its row, opened."""
        text = BindingSpec.model_validate({"name": name, **spec}).model_dump_json()

        def write(c: Connection) -> acme_policies.BindingRow:
            row = acme_policies.find_active_binding(c, self.policies[policy], name)
            if row is None:
                number = acme_policies.add_binding(
                    c, policy_id=self.policies[policy], name=name, owner="yaml:default", key_id=f"{policy}-{name}",
                    sealed=b"sealed", wrapping_key_id="1", spec=text, spec_digest="", created_at=self.now,
                )  # fmt: skip
                return acme_policies.get_binding(c, number)
            self._write_binding(c, row, "active", text)
            return acme_policies.get_binding(c, row.id)

        row = self.write(Step.ACME_BINDING_WRITE, write)
        return OpenBinding(row.id, row.policy_id, row.key_id, Secret(bytes(32)), row)

    def delete_binding(self, binding: OpenBinding) -> None:
        def write(c: Connection) -> None:
            row = acme_policies.get_binding(c, binding.id)
            self._write_binding(c, row, "deleted", row.spec)

        self.write(Step.ACME_BINDING_WRITE, write)

    def _write_binding(self, c: Connection, row: acme_policies.BindingRow, lifecycle: str, spec: str) -> None:
        acme_policies.update_binding(
            c, row, row.generation, name=row.name, owner=row.owner, lifecycle=lifecycle, key_id=row.key_id,
            sealed=row.sealed, wrapping_key_id=row.wrapping_key_id, spec=spec, spec_digest="",
        )  # fmt: skip

    def account(
        self, policy: str = "internal", binding: OpenBinding | None = None, key: AccountKey | None = None
    ) -> Account:
        wish = Registration(
            key or make_account_key(), ("mailto:admin@corp.example",), True, "192.0.2.1", binding,
            None if binding else policy,
        )  # fmt: skip
        account: Account = self.acme.accounts.register(wish)[0]
        return account

    def order(self, account: Account, *values: str, **wish: Any) -> Order:
        order: Order = self.acme.orders.create(account, OrderWish(identifiers(*values), **wish))
        return order

    def settle(self, name: str, problem: Problem | None = None) -> None:
        """What a validation of an authorization found."""

        def write(c: Connection) -> None:
            row = acme_authorizations.find_by_name(c, name)
            assert row is not None
            settle(c, row.id, problem, self.now)

        self.write(Step.ACME_VALIDATED, write)

    def prove(self, account: Account, order: Order, challenge: ChallengeType | None = None) -> Order:
        """Answer a challenge of each authorization; each holds."""
        for name in order.authorizations:
            authorization = self.acme.authorizations.get(account, name)
            if authorization.status == "pending":
                chosen = challenge or authorization.challenges[0].type
                self.acme.authorizations.respond(account, name, chosen)
                self.settle(name)
        ready: Order = self.acme.orders.get(account, order.name)
        return ready

    def issued(self, account: Account, *values: str, key: Any = None) -> tuple[Order, bytes]:
        """An order that was proved and finalized, and its certificate."""
        order = self.prove(account, self.order(account, *values))
        done = self.acme.orders.finalize(account, order.name, der_csr(*values, key=key))
        assert done.status is OrderStatus.VALID
        return done, self.acme.orders.certificate(account, order.name).certificates[0]

    def records(self, action: str) -> list[dict[str, Any]]:
        """What the audit log says of an action, oldest first."""
        found = [json.loads(body) for (body,) in self.rows("SELECT body FROM audit_event ORDER BY id")]
        return [record for record in found if record["action"] == action]

    @contextmanager
    def refusal(
        self, kind: ProblemType, says: str | None = None, *, status: int | None = None
    ) -> Iterator[list[ACMEProblem]]:
        """The block is refused as `kind`, in words that match `says`, and nothing was changed."""
        before, caught = self.state(), []  # type: tuple[Any, list[ACMEProblem]]
        with pytest.raises(ACMEProblem, match=says) as raised:
            yield caught
        caught.append(raised.value)
        assert raised.value.problem.type is kind
        if status is not None:
            assert raised.value.status == status
        assert self.state() == before

    def counts(self) -> dict[str, int]:
        """How many rows ACME and issuing have: what a refusal must leave as it was."""
        tables = (
            "acme_account", "acme_order", "acme_authorization", "acme_order_authorization", "acme_issued_name", "job",
            "certificate", "certificate_tbs", "audit_event",
        )  # fmt: skip
        return {table: int(self.rows(f"SELECT count(*) FROM {table}")[0][0]) for table in tables}

    def state(self) -> Sequence[Any]:
        """Everything that ACME's rows say, and how often something was recorded."""
        tables = ("acme_account", "acme_order", "acme_authorization", "acme_binding")
        said = [self.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]
        return [*said, sorted(self.counts().items())]


def make_place(world: World) -> Iterator[Place]:
    world.apply(PKI)
    yield Place(world)
