"""CSRs that other people's software made, from the bytes to the certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkiconf.der.csr import parse_csr
from pkiconf.errors import Refused
from pkiconf.model.request import Overrides
from pkiconf.policy.overrides import apply_overrides
from pkiconf.policy.template import evaluate
from tests.judges.pkilint import pkilint_findings
from tests.policy.issuing import NOW, SERIAL, issuer_facts, signed, template

CSRS = Path(__file__).parents[1] / "vectors" / "csr"
WELCOME = [
    "gnutls-ec.pem",
    "gnutls-ed25519.pem",
    "gnutls-rsa.pem",
    "java-ec.pem",
    "java-rsa.pem",
    "ml-dsa-44.pem",
    "ml-dsa-65.pem",
    "ml-dsa-87.pem",
    "openssl-ec.pem",
    "openssl-ed25519.pem",
    "openssl-rsa-text.pem",
    "strongswan.der",
    "windows-certreq.pem",
]


@pytest.mark.row("F29")
@pytest.mark.parametrize("file", WELCOME)
def test_a_request_of_other_software_gets_a_web_servers_certificate(file: str) -> None:
    csr = parse_csr((CSRS / file).read_bytes())
    tbs = evaluate(template(), apply_overrides(csr), issuer_facts(), SERIAL, NOW)
    assert tbs.spki == csr.spki
    assert tbs.spki in csr.der
    assert pkilint_findings(signed(tbs), "certificate") == []


def test_a_client_usage_is_refused_by_a_server_template_and_not_by_the_right_one() -> None:
    wanted = apply_overrides(parse_csr((CSRS / "openssl-rsa-challenge.der").read_bytes()), Overrides(days=10))
    with pytest.raises(Refused, match="asks for extended key usage clientAuth"):
        evaluate(template(), wanted, issuer_facts(), SERIAL, NOW)
    evaluate(template(starter="mutual-tls"), wanted, issuer_facts(), SERIAL, NOW)
