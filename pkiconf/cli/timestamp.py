"""`pkiconf timestamp …`."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import services
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.moments import moment
from pkiconf.cli.output import as_json, print_fields, print_json, print_table, read_in, write_out

if TYPE_CHECKING:
    from pkiconf.timestamps.records import Token

_COLUMNS = ("serial", "at", "protocol", "digest", "hash")
_since = click.option("--since", metavar="TIME", help="From then on, ISO 8601; without an offset it is UTC.")
_until = click.option("--until", metavar="TIME", help="Until just before then.")


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Timestamps (RFC 3161): what authorities with `timestamp: {enabled: true}` attest."""


@group.command()
@click.argument("authority")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--digest", type=click.Choice(["sha256", "sha384", "sha512"]), default="sha256", show_default=True,
    help="What the file is hashed with.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="The response, DER. Default: standard output.")
def make(authority: str, file: Path, digest: str, out: Path | None) -> None:
    """Have an authority of this installation attest that FILE exists now, without a network."""
    import hashlib

    from pkiconf.der.timestamp import encode_timestamp_request
    from pkiconf.errors import Unavailable

    hashed = hashlib.new(digest, read_in(file)).digest()
    with services() as s:
        request = encode_timestamp_request(digest, hashed, s.parts.entropy.token(8))
        response, failure = s.timestamps.answer(s.lookup.get(authority).row.slug, request)
    if failure is not None:
        raise Unavailable(
            f"authority {authority!r} gives no timestamp: {failure.name.lower()}", "See `pkiconf timestamp clock`"
        )
    write_out(response, out)


@group.command("list")
@click.argument("authority")
@_since
@_until
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@as_json
def list_(authority: str, since: str | None, until: str | None, limit: int, as_json: bool) -> None:
    """List the tokens that an authority has made, the oldest first."""
    with services() as s:
        found = s.timestamp_records.tokens(authority, **_limits(since, until))
        rows = [_row(token) for token in itertools.islice(found, limit)]
    if as_json:
        print_json(rows)
        return
    print_table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in rows], "No timestamps are recorded.")


@group.command()
@click.argument("authority")
@_since
@_until
@as_json
def count(authority: str, since: str | None, until: str | None, as_json: bool) -> None:
    """Count the tokens that an authority has made.

    With `record: count` whole days are counted; each server that runs has up to 256 of today's counted ahead.
    """
    with services() as s:
        total = s.timestamp_records.count(authority, **_limits(since, until))
    fields = {"recorded": total.recorded, "counted": total.counted, "total": total.recorded + total.counted}
    (print_json if as_json else print_fields)(fields)


@group.command()
@as_json
def clock(as_json: bool) -> int:
    """Ask the time servers in `settings.clock.ntp`. Exit status 1 when most of them do not agree with this clock."""
    with services() as s:
        found = s.clock_inquiry.ask()
    fields: dict[str, Any] = {
        "servers": list(found.said),
        "tolerance": f"{found.limit / 1e6:g} s",
        "off_by_at_most": None if found.bound is None else f"{found.bound / 1e6:.6f} s",
        "agree": found.agree,
    }
    (print_json if as_json else print_fields)(fields)
    return ExitCode.DONE if found.agree else ExitCode.ERROR


def _limits(since: str | None, until: str | None) -> dict[str, datetime]:
    given = {"since": moment(since, "--since"), "until": moment(until, "--until")}
    return {name: value for name, value in given.items() if value is not None}


def _row(token: Token) -> dict[str, str]:
    return {
        "serial": f"{token.serial_number:x}",
        "at": token.at.isoformat(),
        "protocol": token.protocol,
        "digest": token.digest,
        "hash": token.hash.hex(),
    }
