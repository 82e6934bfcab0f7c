"""Scenarios of certificates that logs see first: killed between each two of their steps."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.services import Services
from pkiconf.steps import Step
from tests.crash.child import Place
from tests.crash.prepared import PENDING
from tests.crash.scenarios import Check, Scenario, handed_out, request_finished_by_a_worker
from tests.ct_log import check_timestamps, standing
from tests.wholeness import rows

UNWANTED = 5
"""The number of the request for a certificate that no log will promise to include."""

_APPLY = ("apply", "{folder}/transparent.yaml")
_SIGN = ("request", "sign", str(PENDING), "--out", f"{{folder}}/{PENDING}.pem")
_SUBMIT = ("request", "submit", "--template", "issuing/unwanted", "{folder}/5.csr")


def handed_out_with_timestamps(services: Services, place: Place, side: str) -> None:
    """Logs saw one precertificate of it, and promised for the very certificate that was handed out."""
    handed_out(services, place, side)
    leaf, issuer = x509.load_pem_x509_certificates((place.folder / f"{PENDING}.pem").read_bytes())[:2]
    found = check_timestamps(leaf.public_bytes(Encoding.DER), issuer.public_bytes(Encoding.DER), standing())
    assert len(found) == 2
    for log in found:
        serials = [x509.load_der_x509_certificate(chain[0]).serial_number for chain in log.seen]
        shown = {chain[0] for chain, serial in zip(log.seen, serials, strict=True) if serial == leaf.serial_number}
        assert len(shown) == 1


def given_up(services: Services, place: Place, side: str) -> None:
    assert rows(services, "SELECT state FROM request WHERE id = :id", id=UNWANTED) == [("rejected",)]
    assert rows(services, "SELECT status FROM certificate WHERE origin_id = :id", id=str(UNWANTED)) == [("abandoned",)]


def _signing(step: Step, check: Check = handed_out_with_timestamps, *, asked_again: bool = True) -> Scenario:
    about = "with-logs" if asked_again else "with-logs-nobody-asks-again"
    finish = None if asked_again else ()
    return Scenario(step, _SIGN, check, prepare=(_APPLY,), finish=finish, about=about, shared=asked_again)


CT_SCENARIOS = (
    _signing(Step.CERTIFICATE_RESERVE),
    _signing(Step.CERTIFICATE_RESERVE, request_finished_by_a_worker, asked_again=False),
    _signing(Step.PRECERTIFICATE_SIGN),
    _signing(Step.CERTIFICATE_DISCLOSE),
    _signing(Step.CERTIFICATE_COMPLETE),
    Scenario(
        Step.CERTIFICATE_ABANDON,
        ("request", "sign", str(UNWANTED)),
        given_up,
        {"before": (4,), "after": (4,)},
        prepare=(_APPLY, _SUBMIT),
        about="logs-refuse",
    ),
)
