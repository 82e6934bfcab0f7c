"""What an account may order, read from its rows once and kept while they stand."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from pkiconf.acme.settle import identifier_of
from pkiconf.errors import Conflict, NotFound, Refused
from pkiconf.issuance.issuer import IssuingContext, IssuingContexts
from pkiconf.issuance.requests import current_issuer, find_template, template_address
from pkiconf.model.acme import (
    Account,
    AccountStatus,
    ACMEProblem,
    AuthorizationStatus,
    Identifier,
    IdentifierType,
    Problem,
    ProblemType,
)
from pkiconf.model.names import Name
from pkiconf.policy.acme.identifiers import general_name
from pkiconf.policy.acme.patterns import is_preapproved
from pkiconf.policy.acme.terms import CAA_LIFETIME, Terms, make_terms
from pkiconf.policy.claims import claims_of
from pkiconf.policy.constraints import check_claims
from pkiconf.policy.name_rules import check_names
from pkiconf.spec.acme import ACMEPolicySpec, BindingSpec
from pkiconf.store import acme_accounts, acme_policies, templates
from pkiconf.store.acme_accounts import AccountStamp
from pkiconf.store.acme_authorizations import AuthorizationRow
from pkiconf.store.database import Connection


def unauthorized(detail: str, *, status: int | None = None) -> ACMEProblem:
    return ACMEProblem(ProblemType.UNAUTHORIZED, detail, status=status)


def check_status(status: str) -> None:
    """Raise ACMEProblem 401 `unauthorized` for an account that is not valid any more (RFC 8555 §7.3.6)."""
    if status != AccountStatus.VALID:
        by = "" if status == AccountStatus.DEACTIVATED else " by the operator"
        raise unauthorized(
            f"the account was {status}{by}, which is final; register another one with another key", status=401
        )


@dataclass(frozen=True, slots=True)
class Issuing:
    """Where an order's certificate would come from now."""

    template_id: int
    issuer_id: int
    address: str
    context: IssuingContext

    def is_as(self, other: Issuing) -> bool:
        """Whether nothing behind it has changed."""
        return (self.template_id, self.issuer_id, self.context.stamp) == (
            other.template_id, other.issuer_id, other.context.stamp
        )  # fmt: skip


class AccountTerms:
    """Terms of this process, looked up by one statement and made again when a row behind them has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int | None], tuple[AccountStamp, Terms]] = {}
        self._contexts = IssuingContexts()
        self._issuing: dict[str, Issuing] = {}

    def of(self, c: Connection, account: Account) -> Terms:
        """The terms of a valid account. Raises ACMEProblem `unauthorized` for one that has ended, and for one whose
        policy or binding is not what it hangs on: who belongs to nobody may do nothing."""
        stamp = acme_accounts.stamp(c, account.id)
        if stamp is None or stamp.policy_id != account.policy_id or stamp.binding_id != account.binding_id:
            raise unauthorized("the account does not exist as the request assumes")
        check_status(stamp.status)
        place = (stamp.policy_id, stamp.binding_id)
        known = self._known.get(place)
        if known is None or known[0] != stamp:
            known = self._known[place] = (stamp, _read(c, stamp))
        return known[1]

    def foreseen(self, account: Account, profile: str) -> tuple[Terms, Issuing] | None:
        """What `of` and `issuing` gave last, which may have been overtaken. Good enough to prepare a certificate with,
        as long as both are asked where it is recorded; not to refuse one."""
        known = self._known.get((account.policy_id, account.binding_id))
        if known is None or (reference := known[1].profiles.get(profile)) is None:
            return None
        kept = self._issuing.get(reference)
        return None if kept is None else (known[1], kept)

    def issuing(self, c: Connection, terms: Terms, profile: str) -> Issuing:
        """The template of a profile and the issuer that signs for it now.

        Raises ACMEProblem `unauthorized`, in words, when it issues nothing now.
        """
        reference = terms.profiles[profile]
        kept = self._issuing.get(reference)
        if kept is not None and templates.find_stamp(c, kept.template_id, kept.issuer_id) == kept.context.stamp:
            return kept  # names, states and the issuer in charge are in rows that count their changes
        made = self._find_issuing(c, reference, profile)
        if "/" in reference:  # a bare name may come to mean another template without this one changing
            self._issuing[reference] = made
        return made

    def _find_issuing(self, c: Connection, reference: str, profile: str) -> Issuing:
        try:
            row = find_template(c, reference)
            if row.lifecycle != "active":
                raise Refused(f"template {reference} is retired")
            issuer_id = current_issuer(c, row.id)
            context = self._contexts.load(c, issuer_id, row.id, own_certificate=False)
        except (NotFound, Refused, Conflict) as ex:
            raise _cannot_issue(profile, ex.detail) from None
        if not context.template.spec.enabled:
            raise _cannot_issue(profile, f"template {reference} is disabled")
        return Issuing(row.id, issuer_id, f"template/{template_address(c, row.id)}", context)


def _cannot_issue(profile: str, why: str) -> ACMEProblem:
    return unauthorized(f"profile {profile!r} issues nothing now: {why}; ask the operator")


def _read(c: Connection, stamp: AccountStamp) -> Terms:
    row = acme_policies.get_policy(c, stamp.policy_id)
    spec = ACMEPolicySpec.model_validate(json.loads(row.spec))
    binding = None
    if stamp.binding_id is not None:
        if stamp.binding_policy_id != stamp.policy_id:
            raise unauthorized("the account's binding is not one of its policy")
        binding = BindingSpec.model_validate(json.loads(acme_policies.get_binding(c, stamp.binding_id).spec))
    terms = make_terms(row.slug, row.lifecycle == "active", spec, binding)
    return replace(terms, policy=row.name)


def is_good(terms: Terms, row: AuthorizationRow, now: int) -> bool:
    """Whether an authorization lets its account have the name now: valid, within what its binding allows today, and by
    what today's policy still takes."""
    if row.status != AuthorizationStatus.VALID or row.expires_at <= now:
        return False
    if terms.domains is not None and not terms.domains.covers(identifier_of(row)):
        return False
    if not row.offered:
        return is_preapproved(terms.preapproved, identifier_of(row))
    if row.accepted not in terms.challenges:
        return False
    # Where CAA was looked up, an authorization lives for that long; one that lives longer is from before.
    if terms.caa and row.kind == IdentifierType.DNS:
        return row.validated_at is not None and row.expires_at <= row.validated_at + CAA_LIFETIME
    return True


def check_issuable(issuing: Issuing, identifiers: tuple[Identifier, ...]) -> list[Problem]:
    """What the template's name rules and the chain's name constraints have against each identifier by itself."""
    template, constraints = issuing.context.template, issuing.context.facts.constraints
    problems = []
    for identifier in identifiers:
        claims = claims_of(Name(), [general_name(identifier)], single_labels=template.for_servers)
        try:
            check_names(template.names, Name(), claims)
            check_claims(claims, Name(), constraints)
        except Refused as ex:
            problems.append(Problem(ProblemType.REJECTED_IDENTIFIER, str(ex), identifier))
    return problems
