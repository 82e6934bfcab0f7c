"""Is it well formed? Small functions over the very bytes that will be signed."""

from __future__ import annotations

from pkiconf.policy.lints.check import check_lints
from pkiconf.policy.lints.finding import Finding, LintContext, Severity

__all__ = ["Finding", "LintContext", "Severity", "check_lints"]
