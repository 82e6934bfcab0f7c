"""A database server that dies under a running server, and comes back: clients are told to come back, and then have what
they asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asn1crypto import cms

from tests.acme_client import Answer, Client, csr_for
from tests.concurrency.killing import own_postgresql
from tests.ports import free_port
from tests.scep_client import Device, Wish, make_request, message, read_answer
from tests.serving.running import Installation, Server, eventually

NAME = "a.known.example"
PKI = """
settings: {{ base_url: "{base}" }}
authorities:
  - {{ name: root, key: {{ type: ec, curve: p256 }} }}
  - {{ name: issuing, issuer: root, key: {{ type: ec, curve: p256 }} }}
templates:
  - {{ name: device, authority: issuing, starter: device, scep: {{ enabled: true, challenges: true }} }}
acme_policies:
  - name: everyone
    template: issuing/web-server
    external_account_required: false
    preapproved_domains: ["*.known.example"]
"""


def until_it_works(ask: Callable[[], Answer]) -> Answer:
    """Ask again for as long as one is told to come back."""
    answers: list[Answer] = []

    def worked() -> bool:
        answers.append(ask())
        return answers[-1].status != 503

    eventually(worked)
    return answers[-1]


def is_told_to_come_back(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert int(answer.headers["retry-after"]) > 0
    assert b"sql" not in answer.body.lower()


def test_orders_and_enrolments_wait_for_the_database(tmp_path: Path) -> None:
    """RFC 9110 §15.6.4: 503 with Retry-After. ACME says serverInternal (RFC 8555 §6.7), with a nonce (§6.5); SCEP makes
    no CertRep, which would end the transaction. The same order and the same message then give their certificates."""
    with own_postgresql() as database:
        place = Installation(tmp_path, {"PKICONF_DATABASE_URL": database.url})
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        (tmp_path / "pki.yaml").write_text(PKI.format(base=base))
        place.run("apply", "--yes", "pki.yaml")
        challenge = place.run("scep", "challenge", "issuing/device").stdout.strip()
        # One process, so that it is the one that has made a nonce already.
        with place.running("serve", "--bind", f"127.0.0.1:{port}", "--workers", "1") as tree:
            eventually(lambda: Server(port, tree).answers())
            client = Client(f"{base}/acme/p/everyone/directory", timeout=60)
            assert client.register().status == 201
            order = client.order([NAME])
            assert order.json["status"] == "ready"
            scep = f"{base}/scep/issuing/device"
            authorities = cms.ContentInfo.load(client.exchange("GET", f"{scep}?operation=GetCACert").body)
            recipient = authorities["content"]["certificates"][0].chosen.dump()
            device = Device.fresh()
            enrolment = message(device, make_request(device.key, challenge=challenge), recipient, Wish())

            def finalize() -> Answer:
                return client.post(order.json["finalize"], {"csr": csr_for([NAME])})

            def enrol() -> Answer:
                return client.exchange("POST", f"{scep}?operation=PKIOperation", enrolment, "application/x-pki-message")

            database.kill()
            for answer in (finalize(), client.order(["b.known.example"])):
                is_told_to_come_back(answer)
                assert answer.problem == "serverInternal"
                assert len(answer.headers["replay-nonce"]) == 43
            is_told_to_come_back(enrol())

            database.start()
            assert until_it_works(finalize).json["status"] == "valid"
            answer = until_it_works(enrol)
            assert answer.headers["content-type"] == "application/x-pki-message"
            assert read_answer(answer.body, device.key).status == "0"
            client.forget()
        assert "Traceback" not in tree.text
