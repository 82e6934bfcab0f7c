"""`pkiconf audit …`: what was done, by whom, and whether the record of it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.moments import moment
from pkiconf.cli.output import as_json, counted, print_json, print_table, write_pieces

if TYPE_CHECKING:
    from pkiconf.services import Services
    from pkiconf.store.audit import AuditEventRow


@click.group(cls=SuggestingGroup)
def group() -> None:
    """The audit log: every act, recorded in the very transaction that did it, then sealed into a signed tree."""


@group.command("list")
@click.option("--action", metavar="ACTION", help="Such as certificate.revoke; a final * stands for any ending.")
@click.option("--address", metavar="ADDRESS", help="Such as authority/corp-root; a final * stands for any ending.")
@click.option("--since", metavar="TIME", help="Such as 2027-01-31 or 2027-01-31T08:00 (UTC).")
@click.option("--until", metavar="TIME", help="Excluded.")
@click.option("--after", type=click.IntRange(0), help="Records with higher ids, the first --limit of them.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest so many.")
@as_json
def list_(
    action: str | None,
    address: str | None,
    since: str | None,
    until: str | None,
    after: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List records, the newest last."""
    from pkiconf.store.audit import list_events

    start, end = moment(since, "--since"), moment(until, "--until")
    with _reading() as s:
        events = s.parts.db.read(
            lambda c: list_events(
                c, after=after or 0, limit=limit, action=action, address=address, since=start, until=end,
                newest=after is None,
            )
        )  # fmt: skip
    records = [_record(event) for event in events]
    if as_json:
        print_json(records)
        return
    columns = ("id", "at", "actor", "action", "address")
    print_table(columns, [[record[column] for column in columns] for record in records], "No such records.")


@group.command()
@as_json
def verify(as_json: bool) -> int:
    """Check every record, their order, every signed checkpoint, and the certificates against the records.

    Exit status 1, and one line a finding, when something was edited, moved, taken out or cut off. To examine a copy of
    the database, name it with --database-url: it is compared with the checkpoints in the state folder.
    """
    from pkiconf.bootstrap import checkpoint_verifier
    from pkiconf.store.audit_verify import verify as verify_log

    with _reading() as s:
        report = verify_log(s.parts.db, s.parts.audit, checkpoint_verifier(s.parts), s.parts.state)
    if as_json:
        findings = [{"kind": one.kind, "text": one.text, "event": one.event_id} for one in report.findings]
        print_json({"records": report.records, "sealed": report.sealed, "findings": findings})
    else:
        for finding in report.findings:
            click.echo(str(finding))
        verdict = counted(len(report.findings), "finding") if report.findings else "the log holds"
        click.echo(
            f"{counted(report.records, 'record')}, {report.sealed} of them sealed: {verdict}.",
            err=bool(report.findings),
        )
    return ExitCode.ERROR if report.findings else ExitCode.DONE


@group.command()
@click.option("--after", type=click.IntRange(0), default=0, help="Only records with higher ids.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")
def export(after: int, out: Path | None) -> None:
    """Write the log as JSON lines, each sealed record with what proves its place (RFC 6962 audit path)."""
    from pkiconf.store.audit_export import export as export_log

    with _reading() as s:

        def fill(write: Callable[[bytes], object]) -> int:
            return export_log(s.parts.db, lambda line: write(line.encode()), after)

        count = write_pieces(fill, out)
    if out is not None and str(out) != "-":
        click.echo(f"Wrote {counted(count, 'record')} to {out}.", err=True)


@contextlib.contextmanager
def _reading() -> Iterator[Services]:
    from pkiconf.policy.authorization import Action, check_may

    check_may(operator(), Action.AUDIT_READ, "audit")
    with services() as s:
        yield s


def _record(event: AuditEventRow) -> dict[str, Any]:
    from pkiconf.clock import from_epoch

    fields = event.fields
    return {
        "id": event.id,
        "at": from_epoch(event.at).isoformat(),
        "actor": fields.get("actor"),
        "proved_by": fields.get("proved_by"),
        "action": fields.get("action"),
        "address": fields.get("address"),
        "details": fields.get("details"),
        "sealed_at_index": event.index,
    }
