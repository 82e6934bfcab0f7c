"""What holds of an installation whatever was done to its processes: nothing lost, nothing double, nothing unproved.

Certificates, CRLs and OCSP answers are read by a stranger's library; the rows are read as they lie in the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import text

from pkiconf.bootstrap import checkpoint_verifier, open_services
from pkiconf.der.certificate import assemble_certificate
from pkiconf.der.keys import key_bits
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings
from pkiconf.steps import Step
from pkiconf.store import keys
from pkiconf.store.audit_verify import AuditReport, verify
from pkiconf.store.database import Connection
from pkiconf.worker import Worker
from tests.ct_log import POISON, without

Serial = tuple[int, int]  # issuer id, serial number
_ANY = SIGNATURE_ALGORITHMS["Ed25519"]  # which one does not matter where only the rest is looked at
_REVOKED = ("revoked", "held", "abandoned")
_STATUS = {
    ocsp.OCSPCertStatus.GOOD: ("good", "reserved"),
    ocsp.OCSPCertStatus.REVOKED: _REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: (),
}


@contextmanager
def opened(state: Path, url: str | None = None) -> Iterator[Services]:
    """The services of an installation that is already there."""
    with open_services(ProcessSettings(state=state, database_url=url)) as services:
        yield services


def rows(services: Services, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    return services.parts.db.read(lambda c: [tuple(row) for row in c.execute(text(sql), values)])


def let_minutes_pass(services: Services) -> None:
    """Every lease, claim and pause of a process that is gone has run out."""

    def write(c: Connection) -> None:
        for change in (
            "UPDATE certificate SET lease_until = 0 WHERE status = 'reserved'",
            "UPDATE job SET claimed_until = 0 WHERE claimed_until IS NOT NULL",
            "UPDATE job SET due_at = 0",
            "UPDATE lease SET until_at = 0",
        ):
            c.execute(text(change))

    services.parts.db.write(Step.JOB_CLAIM, write)


def settle(services: Services) -> None:
    """Minutes later, a worker has done everything that was due."""
    let_minutes_pass(services)
    worker = Worker(services)
    worker.run_once()
    worker.run_once()  # what the first round made due: the records of its own acts, for one


def audit_report(services: Services) -> AuditReport:
    parts = services.parts
    return verify(parts.db, parts.audit, checkpoint_verifier(parts), parts.state)


@dataclass(frozen=True)
class Issuer:
    id: int
    slug: str
    generation: int
    state: str
    status_epoch: int
    crl_number: int
    subject: bytes
    spki: bytes


def issuers(services: Services) -> list[Issuer]:
    found = rows(
        services,
        "SELECT i.id, a.slug, i.generation, i.state, i.status_epoch, i.crl_number, i.subject, k.spki FROM issuer i"
        ' JOIN authority a ON a.id = i.authority_id JOIN "key" k ON k.id = i.key_id ORDER BY i.id',
    )
    return [Issuer(*row) for row in found]


def stored_certificates(services: Services) -> dict[Serial, bytes]:
    """Every complete certificate as it would be handed out, DER."""
    found = rows(
        services,
        "SELECT t.issuer_id, t.serial, t.tbs, t.algorithm, s.signature FROM certificate_tbs t"
        " JOIN certificate_signature s ON s.issuer_id = t.issuer_id AND s.serial = t.serial",
    )
    return {
        (issuer, int.from_bytes(serial)): assemble_certificate(tbs, SIGNATURE_ALGORITHMS[algorithm], signature)
        for issuer, serial, tbs, algorithm, signature in found
    }


def check_whole(services: Services, *, clock_back: int = 0) -> None:
    """Fails the test with everything that is wrong. The installation has `settle`d: nothing is under way. `clock_back`
    is how many seconds its clock was set back by: a CRL is never from the future, be the one before it."""
    wrong = [
        *(str(finding) for finding in audit_report(services).findings),
        *_wrong_certificates(services),
        *_wrong_precertificates(services),
        *_wrong_requests(services),
        *_wrong_keys(services),
        *_wrong_orders(services),
        *(problem for issuer in issuers(services) for problem in _wrong_issuer(services, issuer, clock_back)),
        *_undone_jobs(services),
    ]
    assert not wrong, "\n".join(wrong)


def _undone_jobs(services: Services) -> Iterator[str]:
    """An authority that waits for a stranger, or was retired before it had a certificate, keeps its job; Intune is
    asked again and again."""
    waiting = {str(id) for (id,) in rows(services, "SELECT id FROM authority WHERE lifecycle <> 'active'")}
    for kind, thing in rows(services, "SELECT kind, dedupe FROM job WHERE kind <> 'scep.intune-revocations'"):
        if kind != "authority.establish" or thing not in waiting:
            yield f"{kind} {thing} is still to be done"


def _wrong_certificates(services: Services) -> Iterator[str]:
    signed = stored_certificates(services)
    signers = {issuer.id: issuer for issuer in issuers(services)}
    states = rows(services, "SELECT issuer_id, serial, status, template_version_id FROM certificate")
    for issuer_id, serial, status, version in states:
        number = int.from_bytes(serial)
        der = signed.pop((issuer_id, number), None)
        if status == "reserved" or (version is not None and (status == "abandoned") != (der is None)):
            yield f"certificate {serial.hex()} is {status}, signed: {der is not None}"
        if der is None:
            continue
        certificate = x509.load_der_x509_certificate(der)
        if certificate.serial_number != number or certificate.issuer.public_bytes() != signers[issuer_id].subject:
            yield f"certificate {serial.hex()} is filed under another issuer or serial"
        public = x509.load_der_x509_certificate(_own_certificate(services, issuer_id))
        certificate.verify_directly_issued_by(public)
    yield from (f"a signature without its certificate: {issuer} {serial:x}" for issuer, serial in signed)
    for name, count in Counter(rows(services, "SELECT issuer_id, der FROM ca_certificate")).items():
        if count > 1:
            yield f"issuer {name[0]} has the same certificate {count} times"


def _wrong_precertificates(services: Services) -> Iterator[str]:
    """What logs saw is what was certified, but for what they promised; and nothing was shown to them unrecorded."""
    certified = stored_certificates(services)
    for issuer, serial, tbs, signature in rows(
        services, "SELECT issuer_id, serial, tbs, signature FROM precertificate"
    ):
        der = certified.get((issuer, int.from_bytes(serial)))
        if der is None:
            continue
        shown = without(assemble_certificate(tbs, _ANY, signature or b""), POISON)
        if signature is None or x509.load_der_x509_certificate(der).tbs_precertificate_bytes != shown:
            yield f"certificate {serial.hex()} is another one than the one that logs saw"
    lost = "SELECT count(*) FROM certificate_timestamp t LEFT JOIN precertificate p"
    if rows(services, f"{lost} ON p.issuer_id = t.issuer_id AND p.serial = t.serial WHERE p.serial IS NULL") != [(0,)]:
        yield "logs promised for what is no precertificate"


def _own_certificate(services: Services, issuer_id: int) -> bytes:
    found = rows(
        services,
        "SELECT der FROM ca_certificate WHERE issuer_id = :id AND role <> 'cross' ORDER BY id DESC LIMIT 1",
        id=issuer_id,
    )
    return bytes(found[0][0])


def _wrong_requests(services: Services) -> Iterator[str]:
    origins = {
        int(origin): (issuer, serial, status)
        for origin, issuer, serial, status in rows(
            services, "SELECT origin_id, issuer_id, serial, status FROM certificate WHERE origin_kind = 'request'"
        )
    }
    decided = Counter(number for (number,) in rows(services, "SELECT request_id FROM approval"))
    offers = rows(services, "SELECT request_id FROM enrolment_grant WHERE token_sha256 IS NOT NULL")
    offered = {number for (number,) in offers}
    for number, state, issuer, serial in rows(services, "SELECT id, state, issuer_id, serial FROM request"):
        issued = origins.pop(number, None)
        waits = state == "awaiting_claim" and number in offered
        if not waits and state not in ("pending", "issued", "declined", "rejected"):
            yield f"request {number} is {state}"
        if (state == "issued") != (issued is not None and issued[2] in ("good", "held", "revoked")):
            yield f"request {number} is {state}, its certificate {issued}"
        if issued is not None and issued[:2] != (issuer, serial):
            yield f"request {number} names certificate {issuer} {serial!r}, not {issued}"
        if decided[number] != (state != "pending"):
            yield f"request {number} is {state} after {decided[number]} decisions"
    yield from (f"a certificate for request {number}, which is not there" for number in origins)


def _wrong_orders(services: Services) -> Iterator[str]:
    """An ACME order is valid if and only if it has its one certificate, and ready if all its names are proved."""
    issued = {
        name: (issuer, bytes(serial))
        for name, issuer, serial in rows(
            services, "SELECT origin_id, issuer_id, serial FROM certificate WHERE origin_kind = 'acme'"
        )
    }
    found = rows(services, "SELECT id, name, status, issuer_id, serial FROM acme_order")
    for number, name, status, issuer, serial in found:
        certificate = issued.pop(name, None)
        if status == "processing" or (status == "valid") != (certificate is not None):
            yield f"order {name} is {status}, its certificate {certificate}"
        if certificate is not None and certificate != (issuer, bytes(serial)):
            yield f"order {name} names another certificate"
        states = rows(
            services,
            "SELECT a.status FROM acme_authorization a JOIN acme_order_authorization l ON l.authorization_id = a.id"
            " WHERE l.order_id = :id",
            id=number,
        )
        proved = all(state == ("valid",) for state in states)
        if (status in ("pending", "ready") and (status == "ready") != proved) or not states:
            yield f"order {name} is {status}, its authorizations {states}"
    yield from (f"a certificate of order {name}, which is not there" for name in issued)
    used = rows(
        services,
        "SELECT b.key_id FROM acme_binding b WHERE b.accounts <>"
        " (SELECT count(*) FROM acme_account o WHERE o.binding_id = b.id)",
    )
    yield from (f"binding {key_id} has counted wrongly" for (key_id,) in used)


def _wrong_keys(services: Services) -> Iterator[str]:
    keyring = services.parts.keyring
    for row in services.parts.db.read(keys.list_keys):
        if row.sealed is not None:
            keyring.open(row.id, row.spki_sha256, row.algorithm, row.sealed, row.wrapping_key_id)
        elif row.state == "active":
            yield f"key {row.id} has no private key"


def _wrong_issuer(services: Services, issuer: Issuer, clock_back: int) -> Iterator[str]:
    yield from _wrong_crls(services, issuer, clock_back)
    if issuer.state in ("active", "retiring"):
        yield from wrong_answers(services, issuer)


def revoked_now(services: Services, issuer: Issuer, shard: int = -1) -> set[int]:
    """All of an issuer's, or those of one part of its CRL."""
    found = rows(
        services,
        "SELECT serial FROM certificate WHERE issuer_id = :id AND status IN ('revoked', 'held', 'abandoned')"
        " AND (:part = -1 OR crl_shard = :part)",
        id=issuer.id,
        part=shard,
    )
    return {int.from_bytes(serial) for (serial,) in found}


def _wrong_crls(services: Services, issuer: Issuer, clock_back: int) -> Iterator[str]:
    lists = _lists(services, issuer)
    if (_FULL, False) not in lists:
        if issuer.state in ("active", "retiring"):
            yield f"issuer {issuer.id} has no CRL"
        return
    numbers = [one.number for made in lists.values() for one in made]
    if len(set(numbers)) != len(numbers) or max(numbers, default=0) > issuer.crl_number:
        yield f"issuer {issuer.id} has CRLs with numbers that were not taken for them"
    for made in lists.values():
        for earlier, later in pairwise(made):
            if later.covers_epoch < earlier.covers_epoch or later.this_update < earlier.this_update - clock_back:
                yield f"CRL {later.number} of issuer {issuer.id} goes back behind CRL {earlier.number}"
        crl = made[-1].crl
        if crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number != made[-1].number:
            yield f"CRL {made[-1].number} of issuer {issuer.id} has another number inside"
        own = x509.load_der_x509_certificate(_own_certificate(services, issuer.id))  # one that waits has none, nor CRLs
        if not crl.is_signature_valid(own.public_key()):  # type: ignore[arg-type]
            yield f"CRL {made[-1].number} of issuer {issuer.id} has a signature that does not hold"
    yield from _wrong_contents(services, issuer, lists)


def _wrong_contents(services: Services, issuer: Issuer, lists: Lists) -> Iterator[str]:
    """A complete list with the delta beside it lists what is revoked. The full list of an issuer that has parts is only
    made when somebody asks for it."""
    whole = (_FULL, False)
    if issuer.state != "ended" and set(lists) == {whole} and lists[whole][-1].covers_epoch != issuer.status_epoch:
        yield f"the CRL of issuer {issuer.id} does not cover epoch {issuer.status_epoch}"
    divided = any(shard != _FULL for shard, _ in lists)
    for shard in {shard for shard, _ in lists}:
        latest = [made[-1].crl for (of, _), made in lists.items() if of == shard]
        listed = {entry.serial_number for crl in latest for entry in crl}
        revoked = revoked_now(services, issuer, shard)
        if not listed <= revoked or (listed != revoked and not (divided and shard == _FULL)):
            yield f"the CRLs of issuer {issuer.id}, part {shard}, do not list what is revoked"


@dataclass(frozen=True)
class _List:
    number: int
    covers_epoch: int
    this_update: int
    der: bytes

    @property
    def crl(self) -> x509.CertificateRevocationList:
        return x509.load_der_x509_crl(self.der)


_FULL = -1
Lists = dict[tuple[int, bool], list[_List]]
"""By part, and whether they are deltas: the oldest first."""


def _lists(services: Services, issuer: Issuer) -> Lists:
    found: Lists = {}
    for shard, base, *row in rows(
        services,
        "SELECT shard, base_number, number, covers_epoch, this_update, der FROM crl WHERE issuer_id = :id"
        " ORDER BY number",
        id=issuer.id,
    ):
        found.setdefault((shard, base is not None), []).append(_List(*row))
    return found


def ask(services: Services, issuer: Issuer, serial: int) -> ocsp.OCSPResponse:
    """A fresh answer to a request that a stranger's library made."""
    own = x509.load_der_x509_certificate(_own_certificate(services, issuer.id))
    name_hash, key_hash = hashes.Hash(hashes.SHA256()), hashes.Hash(hashes.SHA256())
    name_hash.update(own.subject.public_bytes())
    key_hash.update(key_bits(issuer.spki))
    request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name_hash.finalize(), key_hash.finalize(), serial, hashes.SHA256()
    )
    asked = request.build().public_bytes(Encoding.DER)
    answer = services.ocsp.answer(issuer.slug, asked, services.parts.now())
    return ocsp.load_der_ocsp_response(answer.der)


def wrong_answers(services: Services, issuer: Issuer) -> Iterator[str]:
    """What a fresh OCSP answer says of every certificate, where it is not what the database says."""
    for serial, status in rows(services, "SELECT serial, status FROM certificate WHERE issuer_id = :id", id=issuer.id):
        said = ask(services, issuer, int.from_bytes(serial))
        if said.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            yield f"OCSP says {said.response_status} of certificate {serial.hex()}"
        elif status not in _STATUS[said.certificate_status]:
            yield f"OCSP says {said.certificate_status} of certificate {serial.hex()}, which is {status}"
