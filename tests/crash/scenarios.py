"""Which command comes by which step, and what must be true once it was killed there and its work was finished.

To finish means: the same command line again, or what `finish` holds; minutes later a worker; and then everything
that holds of any installation holds of this one, besides what `check` looks for.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.reconciler.observe import load_plan
from pkiconf.services import Services
from pkiconf.spec.acme import encode_hmac_key
from pkiconf.spec.loader import load_files
from pkiconf.steps import Step
from pkiconf.store import keys
from pkiconf.store.audit import list_events
from tests.crash.child import Place
from tests.crash.prepared import HELD, ISSUED, PENDING, TO_DECLINE
from tests.wholeness import check_whole, opened, rows, settle, stored_certificates

Command = tuple[str, ...]
Check = Callable[[Services, Place, str], None]

SIDES = ("before", "after")
ONCE = {"before": (0,), "after": (0,)}
WAITING = {"before": (3,), "after": (3,)}  # everything is done, but one authority waits for a stranger
TOO_LATE = {"before": (0,), "after": (4,)}  # the second time it is refused: it was done already


@dataclass(frozen=True)
class Scenario:
    """`again`: the exit statuses that finishing may have, by the side that the command was killed on."""

    step: Step
    command: Command
    check: Check
    again: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: ONCE)
    start: str = "running"
    prepare: tuple[Command, ...] = ()
    finish: tuple[Command, ...] | None = None
    shared: bool = False
    """Also on PostgreSQL."""
    about: str = ""

    @property
    def name(self) -> str:
        return f"{self.step}-{self.about}" if self.about else str(self.step)


def as_declared(file: str) -> Check:
    """A plan of `file` finds nothing to do."""

    def check(services: Services, place: Place, side: str) -> None:
        plan = load_plan(services, load_files([place.folder / file]), now=services.parts.now())
        assert [(change.action, change.address) for change in plan.changes if change.pending] == []

    return check


def changed_as_declared(services: Services, place: Place, side: str) -> None:
    as_declared("changed.yaml")(services, place, side)
    roles = rows(
        services,
        "SELECT a.name, i.generation, i.state, c.role FROM ca_certificate c JOIN issuer i ON i.id = c.issuer_id"
        " JOIN authority a ON a.id = i.authority_id WHERE a.name <> 'gone' ORDER BY 1, 2, 4",
    )
    assert roles == [
        ("added", 1, "active", "subordinate"),
        ("issuing", 1, "retiring", "cross"),
        ("issuing", 1, "retiring", "subordinate"),
        ("issuing", 2, "active", "cross"),
        ("issuing", 2, "active", "subordinate"),
        ("root", 1, "active", "self"),
        ("root", 1, "active", "self"),  # renewed with the same key
    ]


def told_once(services: Services, place: Place, side: str) -> None:
    """Everything is as declared, and the credentials in the file are those of the one binding there is."""
    as_declared("acme.yaml")(services, place, side)
    lines = (place.folder / "ci.env").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    opened = services.acme.bindings.open(told["ACME_EAB_KID"], services.parts.now())
    assert encode_hmac_key(opened.key).matches(told["ACME_EAB_HMAC_KEY"].encode())
    assert rows(services, "SELECT count(*) FROM acme_binding") == [(1,)]
    assert not list(place.folder.glob("ci.env?*"))


def finished_by_a_worker_alone(services: Services, place: Place, side: str) -> None:
    """A new generation that was recorded becomes the current one without another apply."""
    found = rows(
        services,
        "SELECT i.generation, i.state, count(c.id) FROM issuer i JOIN authority a ON a.id = i.authority_id"
        " LEFT JOIN ca_certificate c ON c.issuer_id = i.id WHERE a.name = 'issuing' GROUP BY 1, 2 ORDER BY 1",
    )
    alone = [(1, "active", 1)]
    assert found == (alone if side == "before" else [(1, "retiring", 2), (2, "active", 2)])


def handed_out(services: Services, place: Place, side: str) -> None:
    """What the command wrote is what the database holds, and there is one such certificate."""
    leaf, *above = x509.load_pem_x509_certificates((place.folder / f"{PENDING}.pem").read_bytes())
    _is_only_certificate(services, PENDING, leaf)
    leaf.verify_directly_issued_by(above[0])


def all_handed_out(services: Services, place: Place, side: str) -> None:
    for number in _MANY:
        _is_only_certificate(services, number, place.leaf(number))


def _is_only_certificate(services: Services, number: int, leaf: x509.Certificate) -> None:
    found = rows(
        services, "SELECT issuer_id, serial FROM certificate WHERE origin_kind = 'request' AND origin_id = :id",
        id=str(number),
    )  # fmt: skip
    (issuer, serial), *more = found
    assert not more
    assert stored_certificates(services)[issuer, int.from_bytes(serial)] == leaf.public_bytes(Encoding.DER)


def request_finished_by_a_worker(services: Services, place: Place, side: str) -> None:
    """An intent that was recorded is signed without anybody asking again; else the request still waits."""
    state = _state_of(services, PENDING)
    assert state == ("pending" if side == "before" else "issued")


def given_up(services: Services, place: Place, side: str) -> None:
    """Either the key was asked again and signed, or the request was rejected for good."""
    assert _state_of(services, PENDING) == ("issued" if side == "before" else "rejected")


def _state_of(services: Services, number: int) -> str:
    return str(rows(services, "SELECT state FROM request WHERE id = :id", id=number)[0][0])


def submitted(services: Services, place: Place, side: str) -> None:
    """A request whose number nobody was told stands and waits; nobody loses by it."""
    found = rows(services, "SELECT state FROM request WHERE id > :last", last=TO_DECLINE)
    assert found == [("pending",)] * (1 if side == "before" else 2)


def declined(services: Services, place: Place, side: str) -> None:
    assert _state_of(services, TO_DECLINE) == "declined"


def is_now(number: int, status: str) -> Check:
    def check(services: Services, place: Place, side: str) -> None:
        serial = place.leaf(number).serial_number
        found = [row for row in rows(services, "SELECT serial, status FROM certificate") if _number(row) == serial]
        assert [row[1] for row in found] == [status]

    return check


def _number(row: tuple[bytes, str]) -> int:
    return int.from_bytes(row[0])


def installed(services: Services, place: Place, side: str) -> None:
    found = rows(services, "SELECT lifecycle FROM authority WHERE name = 'outside'")
    assert found == [("active",)]


def imported(services: Services, place: Place, side: str) -> None:
    as_declared("imported.yaml")(services, place, side)
    found = rows(services, "SELECT serial FROM certificate WHERE origin_kind = 'import' ORDER BY serial")
    assert [bytes(serial).hex() for (serial,) in found] == ["0a01", "0a02", "0a03"]
    numbers = rows(
        services,
        "SELECT c.number FROM crl c JOIN issuer i ON i.id = c.issuer_id"
        " JOIN authority a ON a.id = i.authority_id WHERE a.name = 'legacy' ORDER BY 1",
    )
    assert numbers[0] >= (40,)


def destroyed(services: Services, place: Place, side: str) -> None:
    """No row and no key of it, and an archive that is whole."""
    assert rows(services, "SELECT id FROM authority WHERE name = 'gone'") == []
    archives = sorted(place.state.glob("*-archive*.tar"))
    assert archives
    for archive in archives:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("generation-1/authority.pem")
            assert member is not None
            assert x509.load_pem_x509_certificate(member.read())
    assert [path.name for path in place.state.glob(".*")] == []


def signed_ahead(services: Services, place: Place, side: str) -> None:
    """Of every certificate that the issuer gave out, and is still true."""
    found = rows(
        services,
        "SELECT s.serial, s.changed_epoch, a.changed_epoch FROM certificate s JOIN issuer i ON i.id = s.issuer_id"
        " JOIN authority o ON o.id = i.authority_id LEFT JOIN ocsp_answer a ON a.serial = s.serial"
        " WHERE o.name = 'issuing'",
    )
    assert found
    assert all(signed == changed for _, changed, signed in found)


def nothing_more(services: Services, place: Place, side: str) -> None:
    """What holds of every installation is all there is to say."""


def rekeyed(services: Services, place: Place, side: str) -> None:
    """One master key, and everything is sealed under it."""
    master = services.parts.keyring.reload()
    assert len(master.ids) == 1
    assert services.parts.db.read(keys.wrapping_key_ids) == {master.current_id}
    assert [path.name for path in place.state.glob("*.new")] == []


def backed_up(services: Services, place: Place, side: str) -> None:
    """The archive brings everything back somewhere else."""
    other = Place(place.folder / "elsewhere")
    other.state.mkdir(parents=True)
    shutil.copy(place.state / "master.key", other.state)
    other.here("restore", str(place.folder / "backup.tar"))
    with opened(other.state) as restored:
        assert stored_certificates(restored) == stored_certificates(services)
        settle(restored)
        check_whole(restored)


def restored(services: Services, place: Place, side: str) -> None:
    """Everything is there, once, and goes on behind a gap."""
    assert rows(services, "SELECT count(*) FROM request") == [(4,)]
    assert min(number for (number,) in rows(services, "SELECT crl_number FROM issuer")) > 1_000_000
    actions = [event.fields["action"] for event in services.parts.db.read(lambda c: list_events(c, limit=10_000))]
    assert actions.count("database.restore") == 1


_PLAN = ("apply", "{folder}/changed.yaml", "--allow", "rollover,retire")
_FIRST = ("apply", "{folder}/first.yaml")
_SIGN = ("request", "sign", str(PENDING), "--out", f"{{folder}}/{PENDING}.pem")
_MANY = (PENDING, TO_DECLINE)
_SIGN_MANY = ("request", "sign", *map(str, _MANY), "--out", "{folder}")
_REVOKE = ("cert", "revoke", f"{{serial {ISSUED}}}", "--reason", "keyCompromise")
_WORK = ("worker", "--once")
_REFUSING = str(Path(__file__).with_name("refusing_key.py"))


def _applying(step: Step, *, shared: bool = False) -> Scenario:
    return Scenario(step, _PLAN, changed_as_declared, WAITING, shared=shared)


def _declaring_acme(step: Step, *, shared: bool = False) -> Scenario:
    return Scenario(step, ("apply", "{folder}/acme.yaml"), told_once, WAITING, shared=shared)


def _working(step: Step, *, shared: bool = False) -> Scenario:
    """A worker after a revocation: a CRL is due, and records are to be sealed."""
    return Scenario(step, _WORK, is_now(ISSUED, "revoked"), prepare=(_REVOKE,), shared=shared, about="by-worker")


PKI_SCENARIOS = (
    Scenario(
        Step.REQUEST_SUBMIT, ("request", "submit", "--template", "issuing/web", "{folder}/5.csr"), submitted
    ),
    Scenario(
        Step.REQUEST_DECIDE, ("request", "decline", str(TO_DECLINE), "--reason", "no such host"), declined, TOO_LATE
    ),
    Scenario(Step.CERTIFICATE_RESERVE, _SIGN, handed_out, shared=True),
    Scenario(Step.CERTIFICATE_RESERVE, _SIGN, request_finished_by_a_worker, finish=(), about="nobody-asks-again"),
    Scenario(Step.CERTIFICATE_COMPLETE, _SIGN, handed_out, shared=True),
    Scenario(Step.CERTIFICATE_RESERVE, _SIGN_MANY, all_handed_out, about="many"),
    Scenario(Step.CERTIFICATE_COMPLETE, _SIGN_MANY, all_handed_out, about="many"),
    Scenario(
        Step.CERTIFICATE_ABANDON, (_REFUSING, "request", "sign", str(PENDING)), given_up, TOO_LATE,
        finish=(("request", "sign", str(PENDING)),),
    ),
    Scenario(Step.CERTIFICATE_REVOKE, _REVOKE, is_now(ISSUED, "revoked"), TOO_LATE, shared=True),
    Scenario(
        Step.CERTIFICATE_REVOKE, ("cert", "hold", f"{{serial {ISSUED}}}"), is_now(ISSUED, "held"), TOO_LATE,
        about="hold",
    ),
    Scenario(Step.CERTIFICATE_RELEASE, ("cert", "release", f"{{serial {HELD}}}"), is_now(HELD, "good"), TOO_LATE),
    _working(Step.CRL_NUMBER, shared=True),
    _working(Step.CRL_PUBLISH, shared=True),
    Scenario(Step.OCSP_PRESIGN, _WORK, signed_ahead, prepare=(("apply", "{folder}/presign.yaml"),), shared=True),
    _working(Step.JOB_CLAIM),
    _working(Step.JOB_FINISH),
    _working(Step.LEASE),
    _working(Step.AUDIT_SEAL, shared=True),
    _working(Step.AUDIT_CHECKPOINT_FILE),
    _applying(Step.SETTINGS_WRITE),
    _applying(Step.AUTHORITY_CREATE, shared=True),
    _applying(Step.AUTHORITY_UPDATE),
    _applying(Step.AUTHORITY_ROLLOVER, shared=True),
    Scenario(
        Step.AUTHORITY_ROLLOVER, _PLAN, finished_by_a_worker_alone, finish=(), about="nobody-applies-again"
    ),
    _applying(Step.SERVICE_CERTIFICATE),
    _applying(Step.TEMPLATE_WRITE),
    _applying(Step.TEMPLATE_RETIRE),
    _declaring_acme(Step.ACME_POLICY_WRITE),
    _declaring_acme(Step.ACME_BINDING_WRITE, shared=True),
    _declaring_acme(Step.CREDENTIALS_FILE),
    _applying(Step.APPLY_LEASE),
    _applying(Step.APPLY_RECORD, shared=True),
    _applying(Step.JOB_FINISH),
    Scenario(
        Step.AUTHORITY_RETIRE, ("apply", "{folder}/retired.yaml", "--allow", "retire"), as_declared("retired.yaml")
    ),
    Scenario(
        Step.AUTHORITY_ACTIVATE,
        ("authority", "install-cert", "outside", "{folder}/outside.pem", "--chain", "{folder}/above.pem"), installed,
    ),
    Scenario(Step.AUTHORITY_IMPORT, ("apply", "{folder}/imported.yaml"), imported),
    Scenario(Step.AUTHORITY_ARCHIVE, ("authority", "destroy", "gone", "--confirm", "gone"), destroyed),
    Scenario(
        Step.AUTHORITY_DESTROY, ("authority", "destroy", "gone", "--confirm", "gone"), destroyed,
        {"before": (0,), "after": (1,)},  # the second time there is no such authority
    ),
    Scenario(Step.MASTER_KEY_FILE, _FIRST, as_declared("first.yaml"), WAITING, start="empty", about="first"),
    Scenario(Step.MASTER_KEY_FILE, ("keystore", "rekey"), rekeyed, about="rekey"),
    Scenario(Step.KEYSTORE_CREATE, _FIRST, as_declared("first.yaml"), WAITING, start="empty", shared=True),
    Scenario(Step.KEYSTORE_REWRAP, ("keystore", "rekey"), rekeyed),
    Scenario(Step.MIGRATE, _FIRST, as_declared("first.yaml"), WAITING, start="empty", shared=True),
    Scenario(Step.BACKUP, ("backup", "{folder}/backup.tar"), backed_up, shared=True),
    Scenario(
        Step.BACKUP_ARCHIVE, ("backup", "{folder}/backup.tar"), backed_up, TOO_LATE  # an archive is never overwritten
    ),
    Scenario(Step.RESTORE, ("restore", "{folder}/other.tar"), restored, TOO_LATE, start="saved", shared=True),
)  # fmt: skip
