"""The lints in a row, and what happens when one of them says no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pkiconf.errors import Malformed, Refused
from pkiconf.policy.lints import alternative_names, attributes, extensions, fields, references, usages
from pkiconf.policy.lints.finding import Finding, LintContext, Severity, error
from pkiconf.policy.lints.view import CertificateView, StandingView

Lint = Callable[[CertificateView, LintContext], Iterable[Finding]]

# A new lint is a function, its name here, and a case in tests/lints/.
LINTS: Final[tuple[Lint, ...]] = (
    fields.version_is_3,
    fields.serial_number,
    fields.signature_fits_issuer,
    fields.issuer_name,
    fields.validity,
    fields.subject_present,
    fields.own_key,
    attributes.subject_attributes,
    extensions.extension_list,
    extensions.extension_criticality,
    extensions.authority_key_identifier,
    extensions.subject_key_identifier,
    extensions.name_constraints,
    usages.basic_constraints,
    usages.path_length,
    usages.key_usage,
    usages.key_usage_fits_key,
    usages.extended_key_usage,
    usages.usages_are_consistent,
    usages.ocsp_nocheck,
    alternative_names.subject_alternative_name,
    references.authority_information_access,
    references.crl_distribution_points,
    references.certificate_policies,
)

# Those that look at what belongs to one certificate alone. The others see a StandingView, which shows none of that.
OF_ONE: Final[tuple[Lint, ...]] = (
    fields.serial_number,
    fields.validity,
    fields.subject_present,
    fields.own_key,
    attributes.subject_attributes,
    extensions.subject_key_identifier,
    usages.path_length,
    alternative_names.subject_alternative_name,
)
STANDING: Final = tuple(lint for lint in LINTS if lint not in OF_ONE)
_MOST_SEEN: Final = 8192
"""Of one context, in which a CRL with many parts makes as many of them; each has about a kilobyte."""


def run_lints(tbs: bytes, context: LintContext) -> tuple[Finding, ...]:
    """Everything the lints have to say about a TBSCertificate, in their order.

    Most of a certificate's octets stand in all that its template makes under its issuer. Where nothing was found in
    them, only the others are looked at; where anything is found, all lints run over all of it.
    """
    return () if _is_sound(tbs, context) else _run_all(tbs, context)


def _is_sound(tbs: bytes, context: LintContext) -> bool:
    """Whether no lint has anything to say."""
    try:
        view = CertificateView(tbs)
        key = view.standing_octets
        is_sound = context.seen.get(key)
        if is_sound is None:
            is_sound = _finds_nothing(STANDING, StandingView(view), context)
            if len(context.seen) >= _MOST_SEEN:
                context.seen.clear()
            context.seen[key] = is_sound
        return is_sound and _finds_nothing(OF_ONE, view, context)
    except (Malformed, ValueError, IndexError):
        return False


def _finds_nothing(lints: Iterable[Lint], view: CertificateView, context: LintContext) -> bool:
    for lint in lints:
        for _ in lint(view, context):
            return False
    return True


def _run_all(tbs: bytes, context: LintContext) -> tuple[Finding, ...]:
    found: list[Finding] = []
    try:
        view = CertificateView(tbs)
        for lint in LINTS:
            found.extend(lint(view, context))
    except Malformed as ex:
        found.append(error("structure", ex.detail, "RFC 5280 Appendix A"))
    except (ValueError, IndexError) as ex:  # a member of a sequence is missing or one too many
        found.append(error("structure", f"an extension is not what its standard says: {ex}", "RFC 5280 Appendix A"))
    return tuple(found)


def check_lints(tbs: bytes, context: LintContext) -> tuple[Finding, ...]:
    """The warnings on the very bytes that are to be signed. Raises Refused, naming every finding that is an error."""
    findings = run_lints(tbs, context)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise Refused("the certificate would be malformed: " + "; ".join(map(str, errors)))
    return findings
