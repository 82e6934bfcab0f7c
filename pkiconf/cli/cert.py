"""`pkiconf cert …`: find, export, revoke, hold, release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.moments import moment
from pkiconf.cli.naming import parse_values
from pkiconf.cli.output import as_json, print_fields, print_json, print_table, write_out
from pkiconf.cli.self_signed import self_signed

if TYPE_CHECKING:
    from pkiconf.issuance.certificates import Found

_authority = click.option("--authority", metavar="NAME", help="Needed only when two authorities share a serial.")


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Issued certificates. A serial is hex, with or without colons, or decimal as decimal:1234."""


@group.command("list")
@click.option("--authority", metavar="NAME", help="Only its certificates, of every generation.")
@click.option("--template", help="authority/name, or the bare name where only one has it.")
@click.option("--status", type=click.Choice(["good", "held", "revoked", "reserved", "abandoned"]))
@click.option("--name", help="A common name or alternative name; * stands for anything.")
@click.option("--expires-before", metavar="TIME", help="Such as 2027-01-31.")
@click.option("--system", is_flag=True, help="Also authorities' own and their services' certificates.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@as_json
def list_(as_json: bool, system: bool, expires_before: str | None, **wish: Any) -> None:  # noqa: ANN401
    """List certificates."""
    _print_found(as_json, system, expires_before, **wish)


@group.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@as_json
def search(name: str, limit: int, as_json: bool) -> None:
    """Find certificates by common name or alternative name; * stands for anything."""
    _print_found(as_json, True, None, name=name, limit=limit)


@group.command()
@click.argument("serial")
@_authority
@as_json
def show(serial: str, authority: str | None, as_json: bool) -> None:
    """Show one certificate and its status."""
    with services() as s:
        found = s.certificates.get(serial, authority)
        summary = _summary(found) | {"timestamps": _timestamps(found)}
    (print_json if as_json else print_fields)(summary)


@group.command()
@click.argument("serial")
@_authority
@click.option("--format", "form", type=click.Choice(["pem", "der", "chain", "p7b"]), default="pem", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")
def export(serial: str, authority: str | None, form: str, out: Path | None) -> None:
    """Write a certificate: alone, with its chain (PEM), or as PKCS#7 (DER)."""
    with services() as s:
        write_out(s.certificates.export(s.certificates.get(serial, authority), form), out)


@group.command()
@click.argument("serial")
@_authority
@click.option("--reason", default="unspecified", show_default=True, help="RFC 5280's name, such as keyCompromise.")
@click.option("--invalid-since", metavar="TIME", help="When the key is thought to have got out.")
def revoke(serial: str, authority: str | None, reason: str, invalid_since: str | None) -> None:
    """Revoke for good: the next OCSP answer and CRL say so, from every process."""
    from pkiconf.policy.revocation import parse_reason

    (cause,) = parse_values("--reason", (reason,), parse_reason)
    with services() as s:
        found = s.certificates.get(serial, authority)
        s.revocations.revoke(found.id, cause, operator(), moment(invalid_since, "--invalid-since"))
        click.echo(f"Certificate {_serial(found)} of {found.authority} is revoked ({cause.text}).")


@group.command()
@click.argument("serial")
@_authority
def hold(serial: str, authority: str | None) -> None:
    """Revoke until it is released (certificateHold)."""
    with services() as s:
        found = s.certificates.get(serial, authority)
        s.revocations.hold(found.id, operator())
        click.echo(f"Certificate {_serial(found)} of {found.authority} is on hold.")


@group.command()
@click.argument("serial")
@_authority
def release(serial: str, authority: str | None) -> None:
    """Make a certificate that is on hold good again."""
    with services() as s:
        found = s.certificates.get(serial, authority)
        s.revocations.release(found.id, operator())
        click.echo(f"Certificate {_serial(found)} of {found.authority} is good again.")


group.add_command(self_signed)


def _print_found(as_json: bool, system: bool, expires_before: str | None, **wish: Any) -> None:  # noqa: ANN401
    from pkiconf.issuance.certificates import Filter

    wanted = Filter(include_system=system, expires_before=moment(expires_before, "--expires-before"), **wish)
    with services() as s:
        found = s.certificates.search(wanted)
        if as_json:
            print_json([_summary(one) for one in found])
            return
        rows = []
        for one in found:
            summary = _summary(one)
            columns = ("serial", "status", "authority", "template", "subject", "not_after")
            rows.append([summary[column] for column in columns])
    print_table(("serial", "status", "authority", "template", "subject", "not after"), rows, "No such certificates.")
    if len(found) == wanted.limit:
        click.echo(f"These are the first {wanted.limit}; --limit shows more.", err=True)


def _serial(found: Found) -> str:
    from pkiconf.policy.serials import serial_text

    return serial_text(found.id.serial_number)


def _timestamps(found: Found) -> list[str]:
    """Of certificate transparency logs: each with the id of its log, as lists of logs have it, and its time."""
    from base64 import b64encode

    from pkiconf.clock import from_epoch
    from pkiconf.der.oids import CT_TIMESTAMPS
    from pkiconf.der.transparency import parse_timestamp_list

    extension = found.certificate.extension(CT_TIMESTAMPS) if found.certificate else None
    scts = parse_timestamp_list(extension.value) if extension is not None else ()
    return [f"{b64encode(sct.log_id).decode()} {from_epoch(sct.timestamp // 1000).isoformat()}" for sct in scts]


def _summary(found: Found) -> dict[str, Any]:
    from pkiconf.clock import from_epoch
    from pkiconf.der.names import name_text, parse_name
    from pkiconf.model.revocation import RevocationReason

    row, certificate = found.row, found.certificate
    return {
        "serial": _serial(found),
        "status": row.status,
        "authority": found.authority,
        "template": found.template,
        "template_version": found.template_version,
        "subject": name_text(parse_name(certificate.subject)) if certificate else None,
        "names": [f"{kind}:{value}" for kind, value in found.names],
        "not_before": from_epoch(row.not_before).isoformat(),
        "not_after": from_epoch(row.not_after).isoformat(),
        "revoked_at": from_epoch(row.revoked_at).isoformat() if row.revoked_at else None,
        "reason": RevocationReason.from_code(row.reason).text if row.reason is not None else None,
    }
