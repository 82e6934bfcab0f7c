"""Scenarios of what lets devices in: a passphrase that is told once, challenges that are good once."""

from __future__ import annotations

from pathlib import Path

from pkiconf.services import Services
from pkiconf.steps import Step
from tests.crash import scep_device
from tests.crash.child import Place
from tests.crash.scenarios import WAITING, Scenario, as_declared
from tests.wholeness import rows

_APPLY = ("apply", "{folder}/scep.yaml")


def _lets_in(services: Services, file: Path) -> bool:
    passphrase = file.read_text().splitlines()[-1].removeprefix("SCEP_CHALLENGE_PASSWORD=")
    terms = services.scep.terms.at("issuing", "router")
    return services.scep.passphrases.find(terms, passphrase) is not None


def told_once(services: Services, place: Place, side: str) -> None:
    """What stands in the file is the passphrase there is."""
    as_declared("scep.yaml")(services, place, side)
    assert _lets_in(services, place.folder / "scep.env")
    assert rows(services, "SELECT count(*) FROM scep_secret WHERE until_at IS NULL") == [(1,)]


def rotated(services: Services, place: Place, side: str) -> None:
    """The file that was written last lets in; what was told before does not."""
    assert _lets_in(services, place.folder / "next.env")
    assert not _lets_in(services, place.folder / "scep.env")
    assert rows(services, "SELECT count(*) FROM scep_secret WHERE until_at IS NULL") == [(1,)]


def made_for_somebody(services: Services, place: Place, side: str) -> None:
    """One that nobody was told expires by itself; whoever asks again is told another."""
    assert rows(services, "SELECT count(*) FROM scep_challenge") == [(1 if side == "before" else 2,)]


def enrolled_once(services: Services, place: Place, side: str) -> None:
    """One certificate for one challenge, and the device has it."""
    assert rows(services, "SELECT status FROM certificate WHERE origin_kind = 'scep'") == [("good",)]
    assert rows(services, "SELECT consumed_by FROM scep_challenge") == [("1.router-7",)]
    assert (place.folder / "router.der").exists()


def counted(services: Services, place: Place, side: str) -> None:
    assert rows(services, "SELECT failures FROM scep_tries") == [(1 if side == "before" else 2,)]


def _device(step: Step, about: str) -> Scenario:
    prepare = (_APPLY, (scep_device.WORD, "challenge"))
    return Scenario(step, (scep_device.WORD, "enrol"), enrolled_once, prepare=prepare, about=about, shared=True)


SCEP_SCENARIOS = (
    Scenario(Step.TEMPLATE_WRITE, _APPLY, told_once, WAITING, about="with-a-passphrase", shared=True),
    Scenario(Step.CREDENTIALS_FILE, _APPLY, told_once, WAITING, about="of-a-template"),
    Scenario(
        Step.SCEP_SECRET_WRITE,
        ("scep", "rotate-passphrase", "router", "--write-to", "{folder}/next.env"),
        rotated,
        prepare=(_APPLY,),
        shared=True,
    ),
    Scenario(
        Step.SCEP_CHALLENGE_CREATE, ("scep", "challenge", "router"), made_for_somebody, prepare=(_APPLY,), shared=True
    ),
    Scenario(Step.SCEP_TRIES, (scep_device.WORD, "wrong"), counted, prepare=(_APPLY,)),
    _device(Step.CERTIFICATE_RESERVE, "of-a-device"),
    _device(Step.CERTIFICATE_COMPLETE, "of-a-device"),
)
