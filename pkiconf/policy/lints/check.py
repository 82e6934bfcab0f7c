"""The lints in a row, and what happens when one of them says no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pkiconf.errors import Malformed, Refused
from pkiconf.policy.lints import alternative_names, attributes, extensions, fields, references, usages
from pkiconf.policy.lints.finding import Finding, LintContext, Severity, error
from pkiconf.policy.lints.view import CertificateView

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


def run_lints(tbs: bytes, context: LintContext) -> tuple[Finding, ...]:
    """Everything the lints have to say about a TBSCertificate, in their order."""
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
