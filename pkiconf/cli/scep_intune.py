"""`pkiconf scep intune …`: whether Microsoft Intune can be asked."""

from __future__ import annotations

from dataclasses import asdict

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_json


@click.group("intune", cls=SuggestingGroup)
def group() -> None:
    """Microsoft Intune, which decides about its devices' requests. It is declared under `scep.intune`."""


@group.command()
@click.argument("template")
@as_json
def check(template: str, as_json: bool) -> int:
    """Find out whether Intune can be asked, and what is missing.

    Tokens, permissions, this machine's clock, where the tenant's services are, and whether they answer; each with what
    to do about it. Nothing is changed, here or there. Exit status 1 if something is wrong.
    """
    from pkiconf.policy.authorization import Action, check_may

    check_may(operator(), Action.DIAGNOSE, f"template/{template}")
    with services() as s:
        findings = s.scep.intune.diagnosis.check(template)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            label = click.style("ok   " if finding.is_good else "error", fg="green" if finding.is_good else "red")
            click.echo(f"{label} {finding.step}: {finding.detail}")
            if finding.hint:
                click.echo(f"      → {finding.hint}")
    return ExitCode.DONE if all(finding.is_good for finding in findings) else ExitCode.ERROR
