"""Requests that wait for a person: submitted, then signed or declined, each act with its actor and its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from pkiconf.clock import to_epoch
from pkiconf.der.csr import parse_csr
from pkiconf.der.names import general_name_text, name_text
from pkiconf.errors import Conflict, NotFound, PkiconfError, Refused
from pkiconf.issuance.changes import check_same_changes, overrides_record
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import BATCH, Pipeline
from pkiconf.model.actor import Actor
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import CertificateRequest, Outcome, Overrides, RequestState
from pkiconf.policy.authorization import Action, check_may
from pkiconf.policy.keys import check_public_key
from pkiconf.policy.lifecycle import RequestEvent, move_request
from pkiconf.policy.overrides import apply_overrides
from pkiconf.policy.serials import serial_bytes
from pkiconf.steps import Step
from pkiconf.store import (
    approvals,
    authorities,
    certificates,
    compromised_keys,
    grants,
    requests,
    scep_challenges,
    templates,
)
from pkiconf.store.database import Connection

ORIGIN: Final = "request"
SYSTEM_OWNER: Final = "system"
"""Who owns the templates that nobody declares."""

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """A request as people see it: the row, what the CSR says, and the template it was submitted to."""

    row: requests.RequestRow
    template: str  # authority/template

    @property
    def csr(self) -> CertificateRequest:
        """Read, and its signature verified, each time: lists do without. Raises Malformed where `has_key` is false."""
        return parse_csr(self.row.csr)

    @property
    def has_key(self) -> bool:
        """Whether there is a CSR: else whoever claims the request brings one."""
        return bool(self.row.csr)

    @property
    def names(self) -> tuple[str, ...]:
        """The alternative names asked for, as `dns:web.corp.example`."""
        return tuple(json.loads(self.row.names))


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """What becomes of a request when its certificate is complete, or cannot be."""

    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None:
        row = requests.get_request(c, int(origin_id))
        requests.move(c, row.id, row.state, move_request(RequestState(row.state), RequestEvent.COMPLETE))

    def given_back(self, c: Connection, origin_id: str) -> None:
        row = requests.get_request(c, int(origin_id))
        if grants.find_grant(c, row.id) is not None:
            return _unclaim(c, row)
        requests.move(
            c, row.id, row.state, move_request(RequestState(row.state), RequestEvent.REJECT),
            reason="its certificate was given up before it was complete",
        )  # fmt: skip
        return None


def _unclaim(c: Connection, row: requests.RequestRow) -> None:
    """It waits for whom it was approved for, as if nobody had claimed it: with its link and the challenge that it was
    claimed by, until they expire."""
    certificates.free_origin(c, ORIGIN, str(row.id))
    scep_challenges.release_claimed(c, row.id)
    target = move_request(RequestState(row.state), RequestEvent.UNCLAIM)
    requests.move(c, row.id, row.state, target, csr=b"", issuer_id=None, serial=None)


class Requests:
    def __init__(self, parts: Parts, pipeline: Pipeline) -> None:
        self._parts = parts
        self._pipeline = pipeline

    def submit(self, template: str, csr: bytes, actor: Actor) -> int:
        """Record a request against `template` (`authority/name`, or a bare name where one template has it).

        Nothing is signed. Raises Malformed, Unverified, UnsupportedAlgorithm, NotFound, Refused (weak key, or a
        template that is disabled or retired).
        """
        parsed = parse_csr(csr)
        check_public_key(parsed.spki, parsed.key, self._parts.db.read(lambda c: compromised_keys.known(c, parsed.spki)))
        row, address = self._parts.db.read(lambda c: open_template(c, template))
        check_may(actor, Action.REQUEST_SUBMIT, address)
        now = to_epoch(self._parts.now())
        new = requests.NewRequest(
            template_id=row.id,
            csr=parsed.der,
            subject=name_text(parsed.subject),
            names=json.dumps([general_name_text(name) for name in parsed.sans], separators=(",", ":")),
            submitted_at=now,
            submitted_by=str(actor),
        )

        def write(c: Connection) -> int:
            number = requests.add(c, new)
            self._parts.record(c, actor, "request.submit", f"request/{number}", {"template": address})
            return number

        return self._parts.db.write(Step.REQUEST_SUBMIT, write)

    def get(self, number: int) -> Request:
        row = self._parts.db.read(lambda c: requests.get_request(c, number))
        return Request(row, self._parts.db.read(lambda c: template_address(c, row.template_id)))

    def search(self, states: Collection[str], filters: Mapping[str, str], limit: int | None = None) -> list[Request]:
        """The oldest first. `filters` maps template, subject, name or by to a pattern in which * is anything."""
        found: list[Request] = []
        after = 0
        while page := self._parts.db.read(partial(_page, states=states, after=after)):
            found += [request for request in page if _fits(request, filters)]
            if limit is not None and len(found) >= limit:
                return found[:limit]
            after = page[-1].row.id
        return found

    def sign(self, number: int, overrides: Overrides, actor: Actor) -> Outcome:
        """Issue what a request asks for, as changed by `overrides`; asked again, the same certificate.

        Rejected leaves the request pending, so that it can be signed with other overrides or declined.
        Raises NotFound, and Conflict for a request that was declined.
        """
        order = self._order(number, overrides, actor)
        return self._pipeline.issue(order) if isinstance(order, IssuanceOrder) else order

    def sign_many(
        self, numbers: Sequence[int], overrides: Overrides, actor: Actor
    ) -> Iterator[tuple[int, Outcome | PkiconfError]]:
        """Sign several, in batches; one that cannot be signed does not stop the others. In the order given."""
        for first in range(0, len(numbers), BATCH):
            batch = numbers[first : first + BATCH]
            prepared = {number: self._tried_order(number, overrides, actor) for number in batch}
            orders = {number: order for number, order in prepared.items() if isinstance(order, IssuanceOrder)}
            issued = dict(zip(orders, self._pipeline.issue_many(list(orders.values())), strict=True))
            for number in batch:
                outcome = prepared[number]
                yield number, issued[number] if isinstance(outcome, IssuanceOrder) else outcome

    def _tried_order(self, number: int, overrides: Overrides, actor: Actor) -> IssuanceOrder | Outcome | PkiconfError:
        try:
            return self._order(number, overrides, actor)
        except PkiconfError as ex:
            return ex

    def _order(self, number: int, overrides: Overrides, actor: Actor) -> IssuanceOrder | Outcome:
        """What the pipeline is asked for; or what became of the request, if it was signed before."""
        request = self.get(number)
        check_may(actor, Action.REQUEST_SIGN, f"template/{request.template}")
        if request.row.state in (RequestState.APPROVED, RequestState.ISSUED):
            check_same_changes(request.row, overrides)
            found = self._pipeline.intents.find(ORIGIN, str(number))
            if found is not None:
                return found
        if not request.row.csr:
            raise Conflict(
                f"request {number} brings no key that could be certified",
                f"Approve it with `pkiconf request approve {number}`: whoever claims it brings one",
            )
        move_request(RequestState(request.row.state), RequestEvent.APPROVE)
        return IssuanceOrder(
            issuer_id=self._parts.db.read(lambda c: current_issuer(c, request.row.template_id)),
            template_id=request.row.template_id,
            wanted=apply_overrides(request.csr, overrides),
            origin_kind=ORIGIN,
            origin_id=str(number),
            address=f"template/{request.template}",
            actor=actor,
            reserved=self._approval(number, overrides, actor),
        )

    def decline(self, number: int, reason: str, actor: Actor) -> None:
        """Raises NotFound, and Conflict for a request that is issued or was declined already."""
        request = self.get(number)
        check_may(actor, Action.REQUEST_DECLINE, f"template/{request.template}")
        now = to_epoch(self._parts.now())

        def write(c: Connection) -> None:
            row = requests.get_request(c, number)
            target = move_request(RequestState(row.state), RequestEvent.DECLINE)
            requests.move(c, number, row.state, target, reason=reason, decided_at=now)
            approvals.add(c, number, str(actor), "decline", reason, now)
            grants.lock(c, number)  # a profile that is being fetched has its challenge by then, or is refused
            scep_challenges.void(c, number, now)  # they would take the room of others
            self._parts.record(c, actor, "request.decline", f"request/{number}", {"reason": reason})

        self._parts.db.write(Step.REQUEST_DECIDE, write)

    def _approval(self, number: int, overrides: Overrides, actor: Actor) -> Callable[[Connection, CertificateID], None]:
        """What the reserving transaction writes besides: who approved, with which changes."""
        now = to_epoch(self._parts.now())
        changes = overrides_record(overrides)

        def write(c: Connection, certificate: CertificateID) -> None:
            row = requests.get_request(c, number)
            target = move_request(RequestState(row.state), RequestEvent.APPROVE)
            requests.move(
                c, number, row.state, target, decided_at=now, overrides=json.dumps(changes, sort_keys=True),
                issuer_id=certificate.issuer_id, serial=serial_bytes(certificate.serial_number),
            )  # fmt: skip
            approvals.add(c, number, str(actor), "approve", None, now)
            self._parts.record(c, actor, "request.approve", f"request/{number}", {"overrides": changes})

        return write


def _page(c: Connection, states: Collection[str], after: int) -> list[Request]:
    rows = requests.list_requests(c, states=states, after=after, limit=_PAGE)
    addresses = {template_id: template_address(c, template_id) for template_id in {row.template_id for row in rows}}
    return [Request(row, addresses[row.template_id]) for row in rows]


def _fits(request: Request, filters: Mapping[str, str]) -> bool:
    values = {
        "template": (request.template, request.template.partition("/")[2]),
        "subject": (request.row.subject,),
        "name": (*request.names, *(name.partition(":")[2] for name in request.names)),
        "by": (request.row.submitted_by,),
    }
    return all(any(fnmatchcase(value, wish) for value in values[field]) for field, wish in filters.items())


def find_template(c: Connection, reference: str, *, include_system: bool = False) -> templates.TemplateRow:
    """A template by `authority/name`, or by a bare name that only one template has. Raises NotFound.

    System templates are those of authorities' own and their services' certificates: nobody requests those, so they are
    found only by whoever asks for them.
    """
    found = [row for row in templates.find_by_reference(c, reference) if include_system or row.owner != SYSTEM_OWNER]
    if len(found) == 1:
        return found[0]
    if not found:
        declared = (row for row in templates.list_templates(c) if row.owner != SYSTEM_OWNER)
        known = ", ".join(template_address(c, row.id) for row in declared) or "none yet"
        raise NotFound(f"there is no template {reference!r}", f"Known templates: {known}")
    choices = " or ".join(template_address(c, row.id) for row in found)
    raise NotFound(f"more than one template is called {reference!r}", f"Write {choices}")


def open_template(c: Connection, reference: str) -> tuple[templates.TemplateRow, str]:
    """A template that takes requests, and its address. Raises NotFound, Refused."""
    row = find_template(c, reference)
    address = template_address(c, row.id)
    if row.lifecycle != "active":
        raise Refused(f"template {address!r} is retired", "Choose one of `pkiconf template list`")
    if authorities.get_authority(c, row.authority_id).lifecycle == "retired":
        raise Refused(f"the authority of template {address!r} is retired", "Declare it again to issue from it")
    if not json.loads(row.spec).get("enabled", True):
        raise Refused(f"template {address!r} is disabled", "Set `enabled: true` in its declaration and apply")
    return row, address


def template_address(c: Connection, template_id: int) -> str:
    """`authority/template`, by their present names."""
    row = templates.get_template(c, template_id)
    return f"{authorities.get_authority(c, row.authority_id).name}/{row.name}"


def current_issuer(c: Connection, template_id: int) -> int:
    """The issuer that signs for a template now. Raises Refused for a retired or waiting authority."""
    authority = authorities.get_authority(c, templates.get_template(c, template_id).authority_id)
    # One that waits for its next generation's certificate goes on with the one it has.
    if authority.lifecycle in ("active", "waiting_certificate") and authority.current_issuer_id is not None:
        return authority.current_issuer_id
    reasons = {
        "retired": ("is retired", "Declare it again to issue from it"),
        "waiting_certificate": ("waits for its certificate", "Run `pkiconf authority install-cert`"),
    }
    what, remedy = reasons.get(authority.lifecycle, ("is not ready", "Run `pkiconf apply` to finish it"))
    raise Refused(f"authority {authority.name!r} {what}", remedy)
