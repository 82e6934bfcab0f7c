"""`pkiconf crl …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, print_table, read_in, write_out

if TYPE_CHECKING:
    from pkiconf.der.crl import CRL
    from pkiconf.store.crls import Part

_LABEL: Final = "X509 CRL"
_generation = click.option(
    "--generation", type=click.IntRange(1), help="Of the authority's key. Default: the current one."
)
_part = click.option(
    "--part", "shard", type=click.IntRange(1), help="One of the lists that it is divided into. Default: the full one."
)
_delta = click.option("--delta", is_flag=True, help="What has changed since the complete list.")


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Certificate revocation lists."""


@group.command()
@click.argument("authority")
@_generation
@_part
@_delta
@click.option("--url", help="Default: the one in the authority's certificates.")
@click.option("--local", is_flag=True, help="From this installation directly, without a network.")
@click.option("--format", "form", type=click.Choice(["pem", "der"]), default="pem", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")
def fetch(
    authority: str,
    generation: int | None,
    shard: int | None,
    delta: bool,
    url: str | None,
    local: bool,
    form: str,
    out: Path | None,
) -> None:
    """Download an authority's CRL as relying parties do; it is verified before it is written."""
    from pkiconf.der.pem import pem_encode
    from pkiconf.egress.http import exchange
    from pkiconf.revocation.inquiry import check_crl, fetch_crl

    if local and url:
        raise click.UsageError("give --local or --url, not both")
    with services() as s:
        place, now = s.whereabouts.of_authority(authority, generation), s.parts.now()
        if local:
            crl = check_crl(s.crls.current(place.issuer_id, _which(shard, delta)).der, place.issuer, now)
        else:
            crl = fetch_crl(url or _url(place.crl_url, shard, delta), place.issuer, exchange, now)
    write_out(crl.der if form == "der" else pem_encode(_LABEL, crl.der).encode(), out)


@group.command()
@click.argument("source", metavar="AUTHORITY|FILE")
@_generation
@_part
@_delta
@click.option("--entries", is_flag=True, help="Also list the revoked serials.")
@as_json
def show(source: str, generation: int | None, shard: int | None, delta: bool, entries: bool, as_json: bool) -> None:
    """Show an authority's CRL, as this installation serves it now, or one in a file (PEM or DER; - is standard input).

    A file's signature is not verified: its issuer may be anybody.
    """
    from_file = source == "-" or Path(source).is_file()
    crl = _from_file(Path(source)) if from_file else _of_authority(source, generation, shard, delta)
    fields = _describe(crl)
    rows = [_entry(entry) for entry in crl.entries] if entries or as_json else []
    if as_json:
        print_json({**fields, "entries": rows})
        return
    print_fields(fields)
    if entries:
        click.echo("")
        columns = ("serial", "revoked_at", "reason", "invalid_since")
        print_table(
            [name.replace("_", " ") for name in columns], [[row[name] or "" for name in columns] for row in rows]
        )


@group.command()
@click.argument("authority")
@_generation
@_part
@_delta
@click.option("--accept-dropped", is_flag=True, help="Publish it even if it leaves out what the list before it held.")
def make(authority: str, generation: int | None, shard: int | None, delta: bool, accept_dropped: bool) -> None:
    """Make an authority's CRL anew, now, whether it is due or not."""
    with services() as s:
        issuer_id = s.whereabouts.of_authority(authority, generation).issuer_id
        part = _which(shard, delta)
        s.crls.schedule.check_named(issuer_id, part)
        made = s.crls.make_as_it_is(issuer_id, part, operator()) if accept_dropped else s.crls.make(issuer_id, part)
    click.echo(f"CRL {made.number} of {authority}, until {made.next_update.isoformat()}.")


def _which(shard: int | None, delta: bool) -> Part:
    from pkiconf.store.crls import FULL, Part

    return Part(FULL if shard is None else shard, delta)


def _url(full: str, shard: int | None, delta: bool) -> str:
    from pkiconf.policy.crl_parts import delta_url, part_url

    return delta_url(full, shard or 0) if delta else part_url(full, shard or 0)


def _of_authority(name: str, generation: int | None, shard: int | None, delta: bool) -> CRL:
    from pkiconf.der.crl import parse_crl
    from pkiconf.errors import NotFound

    if "/" in name or "." in name:
        raise NotFound(f"there is no file {name}", "Give a CRL file, or an authority's name")
    with services() as s:
        issuer_id = s.whereabouts.of_authority(name, generation).issuer_id
        return parse_crl(s.crls.current(issuer_id, _which(shard, delta)).der)


def _from_file(file: Path) -> CRL:
    from pkiconf.der.crl import parse_crl
    from pkiconf.der.pem import der_or_pem

    return parse_crl(der_or_pem(read_in(file), (_LABEL,)))


def _describe(crl: CRL) -> dict[str, Any]:
    from pkiconf.der.names import name_text, parse_name

    return {
        "issuer": name_text(parse_name(crl.issuer)),
        "number": crl.number,
        "this_update": crl.this_update.isoformat(),
        "next_update": crl.next_update.isoformat() if crl.next_update else None,
        **_kind(crl),
        "signature_algorithm": crl.algorithm.name,
        "revoked": sum(1 for _ in crl.entries),
    }


def _kind(crl: CRL) -> dict[str, Any]:
    """Of a part, the URLs that its certificates name; of a delta, the CRL that it begins from."""
    return {
        **({"part": list(crl.part_urls)} if crl.part_urls else {}),
        **({"base_number": crl.base_number} if crl.base_number is not None else {}),
    }


def _entry(entry: Any) -> dict[str, Any]:  # noqa: ANN401
    from pkiconf.policy.serials import serial_text

    return {
        "serial": serial_text(entry.serial_number),
        "revoked_at": entry.revoked_at.isoformat(),
        "reason": "removeFromCRL" if entry.removed else entry.reason.text,
        "invalid_since": entry.invalidity_date.isoformat() if entry.invalidity_date else None,
    }
