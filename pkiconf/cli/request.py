"""`pkiconf request …`: submit, list, show, sign, decline; what needs no key yet stands in `preapproval`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pkiconf.cli import preapproval
from pkiconf.cli.context import operator, services
from pkiconf.cli.csr_file import read_csr
from pkiconf.cli.exit_codes import ExitCode, exit_code_of
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, print_table, write_out
from pkiconf.cli.overrides import changes, changes_text, read_overrides

if TYPE_CHECKING:
    from pkiconf.model.request import Issued, Outcome, Overrides
    from pkiconf.services import Services

F = TypeVar("F", bound=Callable[..., Any])

_STATES: Final = ("pending", "awaiting_claim", "approved", "issued", "declined", "rejected", "expired")

_MANY: Final = (
    click.argument("numbers", type=int, nargs=-1),
    click.option("--all", "everything", is_flag=True, help="Every pending request."),
    click.option(
        "--filter", "patterns", multiple=True, metavar="FIELD=PATTERN",
        help="Pending ones by template, subject, name or by (who submitted); * stands for anything.",
    ),
)  # fmt: skip


def _many(command: F) -> F:
    """Which requests an act is done to."""
    for option in reversed(_MANY):
        command = option(command)
    return command


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Certificate requests: submitted by anybody, decided by an operator."""


@group.command()
@click.argument("csr", type=click.Path(path_type=Path), required=False)
@click.option("--template", "-t", required=True, help="authority/name, or the bare name where only one has it.")
@click.option("--approve", is_flag=True, help="Sign it at once.")
@click.option("--out", type=click.Path(path_type=Path), help="With --approve: leaf and chain go here (PEM).")
@preapproval.wish
def submit(csr: Path | None, template: str, approve: bool, out: Path | None, **wish: Any) -> int:  # noqa: ANN401
    """Submit the CSR (PEM or DER; - reads standard input) against a template. It waits until it is signed.

    Without a CSR, say what is wanted: it waits until it is approved, and whoever it is for brings the key.
    """
    if out and not approve:
        raise click.UsageError("--out goes with --approve")
    if csr is None:
        return _propose(template, approve, wish)
    if any(wish.values()):
        raise click.UsageError("the CSR says what is wanted: change it when it is signed")
    octets = read_csr(csr)
    with services() as s:
        number = s.requests.submit(template, octets, operator())
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
@click.option(
    "--filter",
    "patterns",
    multiple=True,
    metavar="FIELD=PATTERN",
    help="By template, subject, name or by (who submitted); * stands for anything.",
)
@as_json
def list_(states: Sequence[str], everything: bool, patterns: Sequence[str], as_json: bool) -> None:
    """List requests, the oldest first."""
    filters = _filters(patterns)
    with services() as s:
        found = s.requests.search(() if everything else states or ("pending",), filters)
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
    from pkiconf.errors import Conflict

    with services() as s:
        request = s.requests.get(number)
        summary = _summary(request) | _claim(s, number)
        if only_csr and not request.has_key:
            raise Conflict(f"request {number} has brought no CSR", "Whoever claims it brings one")
        if only_csr:
            click.echo(pem_encode("CERTIFICATE REQUEST", request.row.csr), nl=False)
        elif as_json:
            print_json(summary)
        else:
            shown = {**summary, "overrides": changes_text(summary["overrides"] or {})}
            print_fields(shown | ({"mail": _mail_lines(summary)} if "mail" in summary else {}))


@group.command()
@_many
@changes
@click.option("--out", type=click.Path(path_type=Path), help="Leaf and chain, PEM; for several, a folder.")
def sign(
    numbers: Sequence[int],
    everything: bool,
    patterns: Sequence[str],
    out: Path | None,
    **wishes: Any,  # noqa: ANN401
) -> int:
    """Approve and sign: one request, or many at once. Changes apply to all of them; their CSRs are kept.

    One that cannot be signed does not stop the others.
    """
    filters, overrides = _choice(numbers, everything, patterns), read_overrides(**wishes)
    with services() as s:
        if len(numbers) == 1:
            return _report(s, numbers[0], s.requests.sign(numbers[0], overrides, operator()), out)
        return _sign_many(s, numbers or _pending(s, filters), overrides, out)


@group.command()
@_many
@click.option("--reason", required=True, help="Kept with the request, for whoever asks.")
def decline(numbers: Sequence[int], everything: bool, patterns: Sequence[str], reason: str) -> int:
    """Decline requests for good: one, or many at once. One that cannot be declined does not stop the others."""
    from pkiconf.errors import PkiconfError

    filters = _choice(numbers, everything, patterns)
    worst: int = ExitCode.DONE
    with services() as s:
        for number in numbers or _pending(s, filters):
            try:
                s.requests.decline(number, reason, operator())
            except PkiconfError as ex:
                click.echo(f"error: request {number}: {ex}", err=True)
                worst = max(worst, exit_code_of(ex))
            else:
                click.echo(f"Request {number} is declined.")
    return worst


def _propose(template: str, approve: bool, wish: Mapping[str, Any]) -> int:
    if approve:
        raise click.UsageError("--approve goes with a CSR; without one, use `pkiconf request preapprove`")
    wanted = preapproval.read_wish(template, **wish)
    with services() as s:
        number = s.enrolment.grants.propose(wanted, operator())
    click.echo(f"Request {number} is pending (it brings no key).")
    click.echo(f"Approve it with: pkiconf request approve {number}")
    return ExitCode.DONE


def _choice(numbers: Sequence[int], everything: bool, patterns: Sequence[str]) -> dict[str, str]:
    if bool(numbers) == (everything or bool(patterns)):
        raise click.UsageError("give request numbers, or --all, or --filter")
    return _filters(patterns)


def _pending(s: Services, filters: Mapping[str, str]) -> list[int]:
    found = [request.row.id for request in s.requests.search(("pending",), filters)]
    if not found:
        click.echo("No such requests.")
    return found


def _sign_many(s: Services, numbers: Sequence[int], overrides: Overrides, out: Path | None) -> int:
    from pkiconf.errors import PkiconfError

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    worst: int = ExitCode.DONE
    for number, outcome in s.requests.sign_many(numbers, overrides, operator()):
        if isinstance(outcome, PkiconfError):
            click.echo(f"error: request {number}: {outcome}", err=True)
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
        case Pending(reason=reason):
            waits = reason or "its authority's key has not answered yet"
            click.echo(f"Request {number} is approved; {waits}.", err=True)
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


def _claim(s: Services, number: int) -> dict[str, Any]:
    """What there is to say of a request that was submitted without a key."""
    from pkiconf.clock import from_epoch

    found = s.enrolment.grants.find(number)
    if found is None:
        return {}
    grant, mails = found
    return {
        "delivered_as": grant.deliver,
        "email": grant.email,
        "link_expires_at": from_epoch(grant.expires_at).isoformat() if grant.expires_at else None,
        "fetched_at": from_epoch(grant.fetched_at).isoformat() if grant.fetched_at else None,
        "mail": [{"to": mail.recipient, "state": mail.state, "error": mail.error} for mail in mails],
    }


def _mail_lines(summary: Mapping[str, Any]) -> list[str]:
    return [f"{row['to']}: {row['state']}" + (f" ({row['error']})" if row["error"] else "") for row in summary["mail"]]


def _summary(request: Any) -> dict[str, Any]:  # noqa: ANN401
    from pkiconf.clock import from_epoch

    row = request.row
    return {
        "number": row.id,
        "state": row.state,
        "template": request.template,
        "subject": row.subject,
        "names": list(request.names),
        "key": str(request.csr.key) if request.has_key else None,
        "submitted_by": row.submitted_by,
        "submitted_at": from_epoch(row.submitted_at).isoformat(),
        "decided_at": from_epoch(row.decided_at).isoformat() if row.decided_at else None,
        "overrides": json.loads(row.overrides) if row.overrides else None,
        "reason": row.reason,
        "serial": row.serial.hex().upper() if row.serial else None,
    }


for _command in (preapproval.preapprove, preapproval.approve, preapproval.resend, preapproval.profile):
    group.add_command(_command)
