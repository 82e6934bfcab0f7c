"""`pkiconf request …`: submit, list, show, sign, decline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.exit_codes import ExitCode, exit_code_of
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.moments import moment
from pkiconf.cli.naming import parse_values
from pkiconf.cli.output import as_json, print_fields, print_json, print_table, read_in, write_out

if TYPE_CHECKING:
    from pkiconf.model.request import Issued, Outcome, Overrides
    from pkiconf.services import Services

_STATES: Final = ("pending", "approved", "issued", "declined", "rejected")


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Certificate requests: submitted by anybody, decided by an operator."""


@group.command()
@click.argument("csr", type=click.Path(path_type=Path))
@click.option("--template", "-t", required=True, help="authority/name, or the bare name where only one has it.")
@click.option("--approve", is_flag=True, help="Sign it at once.")
@click.option("--out", type=click.Path(path_type=Path), help="With --approve: leaf and chain go here (PEM).")
def submit(csr: Path, template: str, approve: bool, out: Path | None) -> int:
    """Submit the CSR (PEM or DER; - reads standard input) against a template. It waits until it is signed."""
    if out and not approve:
        raise click.UsageError("--out goes with --approve")
    with services() as s:
        number = s.requests.submit(template, read_in(csr), operator())
        if not approve:
            address = s.requests.get(number).template
            click.echo(f"Request {number} is pending (template {address}).")
            click.echo(f"Sign it with: pkiconf request sign {number} --out FILE")
            return ExitCode.DONE
        from pkiconf.model.request import Overrides

        return _report(s, number, s.requests.sign(number, Overrides(), operator()), out)


@group.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Default: pending.")
@click.option("--all", "everything", is_flag=True, help="Requests in every state.")
@click.option("--filter", "patterns", multiple=True, metavar="FIELD=PATTERN", help="template, subject, name or by.")
@as_json
def list_(states: Sequence[str], everything: bool, patterns: Sequence[str], as_json: bool) -> None:
    """List requests, the oldest first."""
    with services() as s:
        found = s.requests.search(() if everything else states or ("pending",), _filters(patterns))
        if as_json:
            print_json([_summary(request) for request in found])
            return
        rows = [
            (r.row.id, r.row.state, r.template, r.row.subject, ", ".join(r.names), r.row.submitted_by) for r in found
        ]
        print_table(("number", "state", "template", "subject", "names", "submitted by"), rows, "No such requests.")


@group.command()
@click.argument("number", type=int)
@as_json
@click.option("--csr", "only_csr", is_flag=True, help="Print the CSR itself, PEM.")
def show(number: int, as_json: bool, only_csr: bool) -> None:
    """Show one request: what it asks for, what became of it."""
    from pkiconf.der.pem import pem_encode

    with services() as s:
        request = s.requests.get(number)
        if only_csr:
            click.echo(pem_encode("CERTIFICATE REQUEST", request.row.csr), nl=False)
        elif as_json:
            print_json(_summary(request))
        else:
            print_fields(_summary(request))


@group.command()
@click.argument("numbers", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every pending request (with --filter: every one that fits).")
@click.option("--filter", "patterns", multiple=True, metavar="FIELD=PATTERN", help="template, subject, name or by.")
@click.option("--set", "subject", multiple=True, metavar="subject.TYPE=VALUE", help="Replace a subject attribute.")
@click.option("--add-san", multiple=True, metavar="TYPE:VALUE", help="Such as dns:www.corp.example or ip:192.0.2.1.")
@click.option("--remove-san", multiple=True, metavar="TYPE:VALUE", help="One that the CSR asks for.")
@click.option("--days", type=click.IntRange(1, 36600), help="Validity from now on.")
@click.option("--not-before", metavar="TIME", help="Start, such as 2027-01-31T08:00 (UTC).")
@click.option("--not-after", metavar="TIME", help="End.")
@click.option("--out", type=click.Path(path_type=Path), help="Leaf and chain, PEM; with several, a folder.")
def sign(
    numbers: Sequence[int],
    everything: bool,
    patterns: Sequence[str],
    out: Path | None,
    **changes: Any,  # noqa: ANN401
) -> int:
    """Approve and sign: one request, or many at once. Changes apply to all of them; their CSRs are kept."""
    if bool(numbers) == (everything or bool(patterns)):
        raise click.UsageError("give request numbers, or --all, or --filter")
    overrides = _overrides(**changes)
    with services() as s:
        if not numbers:
            numbers = [request.row.id for request in s.requests.search(("pending",), _filters(patterns))]
        if len(numbers) == 1:
            return _report(s, numbers[0], s.requests.sign(numbers[0], overrides, operator()), out)
        return _sign_many(s, numbers, overrides, out)


@group.command()
@click.argument("numbers", type=int, nargs=-1, required=True)
@click.option("--reason", required=True, help="Kept with the request, for whoever asks.")
def decline(numbers: Sequence[int], reason: str) -> None:
    """Decline requests for good."""
    with services() as s:
        for number in numbers:
            s.requests.decline(number, reason, operator())
            click.echo(f"Request {number} is declined.")


def _sign_many(s: Services, numbers: Sequence[int], overrides: Overrides, out: Path | None) -> int:
    from pkiconf.errors import PkiconfError

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    worst: int = ExitCode.DONE
    for number, outcome in s.requests.sign_many(numbers, overrides, operator()):
        if isinstance(outcome, PkiconfError):
            click.echo(f"Request {number}: error: {outcome}", err=True)
            code: int = exit_code_of(outcome)
        else:
            code = _report(s, number, outcome, out / f"{number}.pem" if out else None)
        worst = max(worst, code)
    return worst


def _report(s: Services, number: int, outcome: Outcome, out: Path | None) -> int:
    from pkiconf.model.request import Issued, Pending, Rejected
    from pkiconf.policy.serials import serial_text

    match outcome:
        case Rejected(reason):
            click.echo(f"refused: request {number}: {reason}", err=True)
            return ExitCode.REFUSED
        case Pending():
            click.echo(f"Request {number} is approved; its authority's key has not answered yet.", err=True)
            return ExitCode.WAITING
        case Issued():
            serial = serial_text(outcome.id.serial_number)
            if out is None:
                click.echo(_bundle(outcome), nl=False)
                click.echo(f"Request {number} is issued: serial {serial}", err=True)
            else:
                write_out(_bundle(outcome).encode(), out)
                click.echo(f"Request {number} is issued: serial {serial}, in {out}")
    return ExitCode.DONE


def _bundle(issued: Issued) -> str:
    from pkiconf.der.pem import pem_encode

    return "".join(pem_encode("CERTIFICATE", der) for der in (issued.der, *issued.chain))


def _overrides(
    subject: Iterable[str],
    add_san: Iterable[str],
    remove_san: Iterable[str],
    days: int | None,
    not_before: str | None,
    not_after: str | None,
) -> Overrides:
    from pkiconf.der.names import parse_general_name_text
    from pkiconf.model.request import Overrides
    from pkiconf.policy.overrides import parse_subject_override

    if days is not None and not_after is not None:
        raise click.UsageError("give --days or --not-after, not both")
    start: datetime | None = moment(not_before, "--not-before")
    end: datetime | None = moment(not_after, "--not-after")
    return Overrides(
        set_subject=parse_values("--set", subject, parse_subject_override),
        add_sans=parse_values("--add-san", add_san, parse_general_name_text),
        remove_sans=parse_values("--remove-san", remove_san, parse_general_name_text),
        days=days,
        not_before=start,
        not_after=end,
    )


def _filters(patterns: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in patterns:
        field, equals, pattern = text.partition("=")
        if not equals or field not in ("template", "subject", "name", "by"):
            raise click.UsageError(
                f"--filter {text!r}: write template=…, subject=…, name=… or by=…, with * for anything"
            )
        found[field] = pattern
    return found


def _summary(request: Any) -> dict[str, Any]:  # noqa: ANN401
    from pkiconf.clock import from_epoch

    row = request.row
    return {
        "number": row.id,
        "state": row.state,
        "template": request.template,
        "subject": row.subject,
        "names": list(request.names),
        "key": str(request.csr.key),
        "submitted_by": row.submitted_by,
        "submitted_at": from_epoch(row.submitted_at).isoformat(),
        "decided_at": from_epoch(row.decided_at).isoformat() if row.decided_at else None,
        "overrides": row.overrides,
        "reason": row.reason,
        "serial": row.serial.hex().upper() if row.serial else None,
    }
