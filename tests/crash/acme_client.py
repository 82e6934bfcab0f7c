"""What an ACME client does, without HTTP, and a worker that finds every proof: `--state FOLDER acme-client WHAT`.

Every act looks first whether it has been done, as a client does that was cut off. The client's keys are always the
same, so that it is the same client when it comes again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.acme.accounts import Registration
from pkiconf.bootstrap import open_services
from pkiconf.cli.app import main
from pkiconf.cli.context import process_settings
from pkiconf.der.pem import pem_decode_all
from pkiconf.egress.network import SystemNetwork
from pkiconf.model.acme import Account, AccountKey, ChallengeType, Identifier, IdentifierType, Order, OrderWish
from pkiconf.services import Services
from tests.crash import intune_client, link_client, scep_device
from tests.world import make_csr

WORD = "acme-client"
NAME = "acme.corp.example"
POLICY = "internal"


def find_everything(*_: object) -> None:
    """In the place of `SystemNetwork.find`."""


def account_key() -> AccountKey:
    public = ec.derive_private_key(0xACE, ec.SECP256R1()).public_key()
    numbers = public.public_numbers()
    jwk = json.dumps(
        {"crv": "P-256", "kty": "EC", "x": _b64(numbers.x.to_bytes(32)), "y": _b64(numbers.y.to_bytes(32))},
        sort_keys=True, separators=(",", ":"),
    )  # fmt: skip
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return AccountKey(_b64(hashlib.sha256(jwk.encode()).digest()), jwk, spki)


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def register(services: Services) -> Account:
    wish = Registration(account_key(), ("mailto:admin@corp.example",), True, "127.0.0.1", None, POLICY)
    return services.acme.accounts.register(wish)[0]


def latest_order(services: Services, account: Account) -> Order:
    """The one it knows of, else a new one."""
    names, _ = services.acme.orders.page(account, 0, 100)
    if names:
        return services.acme.orders.get(account, names[-1])
    return services.acme.orders.create(account, OrderWish((Identifier(IdentifierType.DNS, NAME),)))


def respond(services: Services) -> None:
    account = register(services)
    for name in latest_order(services, account).authorizations:
        services.acme.authorizations.respond(account, name, ChallengeType.HTTP_01)


def deactivate(services: Services) -> None:
    account = register(services)
    order = latest_order(services, account)
    for name in order.authorizations:
        if services.acme.authorizations.get(account, name).status in ("pending", "valid"):
            services.acme.authorizations.deactivate(account, name)


def finalize(services: Services) -> None:
    account = register(services)
    csr = make_csr(NAME, (NAME,), ec.derive_private_key(0xCE27, ec.SECP256R1()))
    services.acme.orders.finalize(
        account, latest_order(services, account).name, pem_decode_all(csr, "CERTIFICATE REQUEST")[0]
    )


def order(services: Services) -> None:
    latest_order(services, register(services))


ACTS: dict[str, Any] = {
    "register": register, "order": order, "respond": respond, "deactivate": deactivate, "finalize": finalize,
    "fetch": link_client.fetch,
}  # fmt: skip


def perform(arguments: list[str]) -> int:
    """A command line; with `acme-client` where its command stands, what a client does, or a worker that finds every
    proof; with `intune-device` or `scep-device`, what a device does."""
    if intune_client.WORD in arguments:
        intune_client.put_in_place()
        with open_services(process_settings(state=Path(arguments[1]))) as services:
            intune_client.enrol(services, Path(arguments[1]).parent)
        return 0
    if scep_device.WORD in arguments:
        with open_services(process_settings(state=Path(arguments[1]))) as services:
            scep_device.perform(services, Path(arguments[1]).parent, arguments[-1])
        return 0
    if WORD not in arguments:
        return main(arguments)
    _, folder, _, what = arguments
    if what == "worker":
        SystemNetwork.find = find_everything  # type: ignore[assignment, method-assign]
        return main(["--state", folder, "worker", "--once"])
    with open_services(process_settings(state=Path(folder))) as services:
        ACTS[what](services)
    return 0


if __name__ == "__main__":
    sys.exit(perform(sys.argv[1:]))
