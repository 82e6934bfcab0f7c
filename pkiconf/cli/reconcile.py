"""`pkiconf plan`, `apply` and `watch`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkiconf.cli.context import operator, process_settings, say_where, services, services_if_any
from pkiconf.cli.credentials import telling_for
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.output import as_json, read_in, write_out

if TYPE_CHECKING:
    from pkiconf.model.actor import Actor
    from pkiconf.reconciler.apply import Result
    from pkiconf.reconciler.state import Action
    from pkiconf.reconciler.watch import Outcome
    from pkiconf.spec.document import Document

WORKSPACE = "default"

_workspace = click.option(
    "--workspace", default=WORKSPACE, show_default=True, help="Whose objects --prune may retire: one a repository."
)
_limit = click.option("--limit", multiple=True, metavar="ADDRESS", help="Only this, and what it needs.")
_prune = click.option("--prune", is_flag=True, help="Retire what this workspace no longer declares.")
_paths = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command()
@_paths
@_limit
@_prune
@_workspace
@click.option("--diff", "diff", is_flag=True, help="Show each changed field, before and after.")
@as_json
@click.option("--out", type=click.Path(path_type=Path), help="Save the plan, for `pkiconf apply FILE`.")
def plan(
    paths: Sequence[Path],
    limit: Sequence[str],
    prune: bool,
    workspace: str,
    diff: bool,
    as_json: bool,
    out: Path | None,
) -> int:
    """Show what `apply` would change, and why. Exit status 2: there is something to do.

    PATHS are YAML files and folders of them.
    """
    from pkiconf.clock import SystemClock
    from pkiconf.reconciler.observe import load_plan
    from pkiconf.reconciler.render import render_plan

    document = _load(paths)
    say_where(process_settings())
    with services_if_any() as s:
        now = s.parts.now() if s else SystemClock().now()
        made = load_plan(s, document, now=now, limit=limit, prune=prune, workspace=workspace)
    if out is not None:
        write_out(made.to_json().encode(), out)
    click.echo(made.to_json() if as_json else render_plan(made, colour=sys.stdout.isatty(), diff=diff), nl=False)
    return made.exit_code


@click.command()
@_paths
@_limit
@_prune
@_workspace
@click.option("--check", is_flag=True, help="Change nothing; exit status 2 if something would change.")
@click.option("--diff", is_flag=True, help="Show each changed field, before and after.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@click.option("--allow", default="", metavar="ACTION,…", help="Consent to rollover, replace or retire.")
@click.option(
    "--secrets-file",
    type=click.Path(path_type=Path),
    help="Put credentials that are made here, 0600; without it a terminal shows them once.",
)
def apply(
    paths: Sequence[Path],
    limit: Sequence[str],
    prune: bool,
    workspace: str,
    check: bool,
    diff: bool,
    yes: bool,
    allow: str,
    secrets_file: Path | None,
) -> int:
    """Converge the database and the keys to the declarations in PATHS, or carry out one saved plan.

    Changes are made in the order they need; run it again after an interruption, and it finishes.
    """
    from pkiconf.reconciler.apply import apply_plan
    from pkiconf.reconciler.observe import load_plan
    from pkiconf.reconciler.plan import Plan
    from pkiconf.reconciler.render import render_plan

    allowed = _allowed(allow)
    saved = len(paths) == 1 and paths[0].suffix == ".json"
    if saved and (limit or prune):
        raise click.UsageError("a saved plan is carried out as it is: leave out --limit and --prune")
    document = None if saved else _load(paths)
    say_where(process_settings())
    with services(create=True) as s:
        if saved:
            made = Plan.from_json(read_in(paths[0]))
        else:
            assert document is not None
            made = load_plan(s, document, now=s.parts.now(), limit=limit, prune=prune, workspace=workspace)
        if diff or check or made.pending:
            click.echo(render_plan(made, colour=sys.stdout.isatty(), diff=diff), nl=False)
        if check:
            return made.exit_code
        if made.pending and not yes and not saved and sys.stdin.isatty():
            click.confirm("Make these changes?", abort=True)
        telling = telling_for(secrets_file)
        recap = apply_plan(s, made, document, allowed, operator(), report=_report, telling=telling)
        if not made.pending:
            click.echo("Nothing to do: everything is as declared.")
        click.echo(f"\n{recap}")
    return recap.exit_code


@click.command()
@_paths
@_workspace
@click.option("--quiet-start", is_flag=True, hidden=True, help="Say nothing if there is nothing to do at first.")
def watch(paths: Sequence[Path], workspace: str, quiet_start: bool) -> int:
    """Apply again whenever a declaration changes. Rollover, replace and retire are reported, never done."""
    import signal
    import threading

    from pkiconf.cli.lifeline import hold_lifeline
    from pkiconf.model.actor import Actor
    from pkiconf.reconciler.watch import Converged, Converger
    from pkiconf.reconciler.watch import watch as watch_files

    settings = process_settings()
    hold_lifeline()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    first = quiet_start

    def report(outcome: Outcome) -> None:
        nonlocal first
        if not (first and isinstance(outcome, Converged) and not outcome.plan.pending):
            _report_outcome(outcome)
        first = False

    with services(create=True) as s:
        s.make_everything()
        actor = Actor("system", "watch", "in-process")
        watch_files(Converger(s, paths, actor, workspace, settings.vault_password_file), report, stop)
    return ExitCode.DONE


def apply_paths(paths: Sequence[Path], *, allow: str, actor: Actor) -> int:
    """What `up` does before it listens: plan and apply, leaving out what nobody agreed to. The exit status."""
    from pkiconf.reconciler.apply import apply_plan
    from pkiconf.reconciler.observe import load_plan
    from pkiconf.reconciler.render import render_plan

    allowed = _allowed(allow)
    document = _load(paths)
    with services(create=True) as s:
        made = load_plan(s, document, now=s.parts.now(), workspace=WORKSPACE)
        if made.pending:
            click.echo(render_plan(made, colour=sys.stdout.isatty()), nl=False)
        recap = apply_plan(
            s, made, document, allowed, actor, leave_grave=True, report=_report, telling=telling_for(None)
        )
        click.echo(f"{recap}")
    return recap.exit_code


def _load(paths: Sequence[Path]) -> Document:
    from pkiconf.spec.loader import load_files

    return load_files(paths, vault_password_file=process_settings().vault_password_file)


def _allowed(text: str) -> tuple[Action, ...]:
    from pkiconf.reconciler.state import NEEDS_CONSENT, Action

    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word not in {action.value for action in NEEDS_CONSENT}:
            raise click.UsageError(f"--allow {word!r}: it takes rollover, replace and retire")
        found.append(Action(word))
    return tuple(found)


def _report(result: Result) -> None:
    from pkiconf.reconciler.recap import Status

    if result.status is Status.OK and not result.message and not result.waits_for:
        return
    line = f"{result.status.value}: {result.address}"
    if result.message:
        line += f"  {result.message}"
    if result.waits_for:
        line += f"  (waits for {result.waits_for})"
    click.echo(line, err=result.status in (Status.FAILED, Status.REFUSED, Status.SKIPPED))
    kind, _, name = result.address.partition("/")
    if kind == "authority" and result.waits_for and "/" not in result.waits_for:  # not for another object
        click.echo(f"  Have `pkiconf authority csr {name}` signed, then `pkiconf authority install-cert {name} FILE`")


def _report_outcome(outcome: Outcome) -> None:
    from pkiconf.reconciler.render import render_plan
    from pkiconf.reconciler.watch import Converged

    if not isinstance(outcome, Converged):
        click.echo(f"watch: the declaration was not applied, nothing has changed:\n{outcome.error}", err=True)
        return
    if not outcome.plan.pending:
        click.echo("watch: read again; nothing to do")
        return
    click.echo(
        f"watch: the declaration has changed\n{render_plan(outcome.plan, colour=sys.stdout.isatty(), diff=True)}",
        nl=False,
    )
    for result in outcome.recap.results:
        _report(result)
    click.echo(f"watch: {outcome.recap}")
