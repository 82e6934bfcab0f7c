"""Scenarios of timestamps: what was handed out is recorded, whatever was killed."""

from __future__ import annotations

import hashlib

from asn1crypto import tsp

from pkiconf.services import Services
from pkiconf.steps import Step
from tests.crash.child import Place
from tests.crash.scenarios import Scenario
from tests.wholeness import rows

_MAKE = ("timestamp", "make", "issuing", "{folder}/1.csr", "--out", "{folder}/1.tsr")
_BLOCK = 256


def recorded(services: Services, place: Place, side: str) -> None:
    """The token in the file has its row; one that nobody got has one as well, if it came so far."""
    response = tsp.TimeStampResp.load((place.folder / "1.tsr").read_bytes())
    info = response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
    found = rows(services, "SELECT serial, hash FROM timestamp_token")
    assert info["serial_number"].native in [int.from_bytes(serial) for serial, _ in found]
    digest = hashlib.sha256((place.folder / "1.csr").read_bytes()).digest()
    assert [hashed for _, hashed in found] == [digest] * (1 if side == "before" else 2)


def counted(services: Services, place: Place, side: str) -> None:
    """At most a block too many, and never one too few."""
    assert rows(services, "SELECT number FROM timestamp_count") == [(1 if side == "before" else _BLOCK + 1,)]


TIMESTAMP_SCENARIOS = (
    Scenario(
        Step.TIMESTAMP_RECORD, _MAKE, recorded, prepare=(("apply", "{folder}/stamping.yaml"),), shared=True
    ),
    Scenario(
        Step.TIMESTAMP_COUNT, _MAKE, counted, prepare=(("apply", "{folder}/counting.yaml"),), shared=True
    ),
)  # fmt: skip
