"""`pkiconf doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pkiconf.cli.context import operator, process_settings
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.output import as_json, counted, print_json

if TYPE_CHECKING:
    from pkiconf.diagnosis.finding import Finding


@click.command()
@as_json
def doctor(as_json: bool) -> int:
    """Look for what is wrong or soon will be, each with a remedy. Nothing is changed.

    Looked at: state folder, database and schema, base_url beside PKICONF_BIND, master key, every sealed key, the clock,
    engines, ends of authorities, service certificates and CRLs, jobs, the audit log. Exit status 1 on errors, 0 with
    warnings only.
    """
    from pkiconf.clock import SystemClock
    from pkiconf.diagnosis.diagnose import diagnose
    from pkiconf.diagnosis.finding import Severity
    from pkiconf.policy.authorization import Action, check_may

    check_may(operator(), Action.DIAGNOSE, "installation")
    found = diagnose(process_settings(), SystemClock().now())
    errors, warnings = (
        sum(1 for finding in found if finding.severity is severity) for severity in (Severity.ERROR, Severity.WARNING)
    )
    if as_json:
        print_json({"errors": errors, "warnings": warnings, "findings": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            _print(finding)
        click.echo(f"\n{counted(errors, 'error')}, {counted(warnings, 'warning')}.")
    return ExitCode.ERROR if errors else ExitCode.DONE


def _print(finding: Finding) -> None:
    colour = {"error": "red", "warning": "yellow"}.get(finding.severity.value, "green")
    label = click.style(f"{finding.severity.value:<8}", fg=colour)
    click.echo(f"{label}{finding.check}: {finding.text}")
    if finding.remedy:
        click.echo(f"        → {finding.remedy}")
