"""`pkiconf cert self-signed`: a certificate without any authority."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pkiconf.cli.moments import moment
from pkiconf.cli.naming import load_key, naming, parse_sans, parse_subject, signature_wish
from pkiconf.cli.output import write_out

if TYPE_CHECKING:
    from pkiconf.model.names import GeneralName, Name

_LONGEST_COMMON_NAME: Final = 64  # RFC 5280 Appendix A.1


@click.command("self-signed")
@naming
@click.option("--starter", default="web-server", show_default=True, help="Usages; see `pkiconf template starters`.")
@click.option("--days", type=click.IntRange(1, 36600), help="Validity from now on. Default: the starter's.")
@click.option("--not-before", metavar="TIME", help="Start, such as 2027-01-31T08:00 (UTC).")
@click.option("--not-after", metavar="TIME", help="End.")
@click.option("--format", "form", type=click.Choice(["pem", "der"]), default="pem", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")
def self_signed(
    key_file: Path,
    passphrase_file: Path | None,
    subject: str | None,
    sans: Sequence[str],
    hash_name: str | None,
    pss: bool,
    starter: str,
    days: int | None,
    not_before: str | None,
    not_after: str | None,
    form: str,
    out: Path | None,
) -> None:
    """Make a self-signed certificate for a private key. Needs no authority and no state; nothing is recorded.

    Without --subject, the first DNS name or address becomes the common name.
    """
    from pkiconf.clock import SystemClock
    from pkiconf.der.pem import pem_encode
    from pkiconf.entropy import SystemEntropy
    from pkiconf.issuance.offline import make_self_signed
    from pkiconf.model.request import Overrides
    from pkiconf.policy.starters import STARTERS

    if starter not in STARTERS:
        raise click.UsageError(f"--starter {starter!r}: it is one of {', '.join(STARTERS)}")
    if days is not None and not_after is not None:
        raise click.UsageError("give --days or --not-after, not both")
    validity = Overrides(
        days=days, not_before=moment(not_before, "--not-before"), not_after=moment(not_after, "--not-after")
    )
    names = parse_sans(sans)
    name = parse_subject(subject) if subject else _first_name(names)
    if not name.rdns:
        raise click.UsageError("give --subject, or a --san that is a DNS name or an address")
    key = load_key(key_file, passphrase_file)
    der = make_self_signed(
        key, name, names, starter, validity, SystemClock().now(), SystemEntropy(), **signature_wish(hash_name, pss)
    )
    write_out(der if form == "der" else pem_encode("CERTIFICATE", der).encode(), out)


def _first_name(names: Sequence[GeneralName]) -> Name:
    from pkiconf.model.attributes import COMMON_NAME
    from pkiconf.model.names import Attribute, DNSName, IPAddress, Name

    for name in names:
        if isinstance(name, DNSName | IPAddress) and len(str(name.value)) <= _LONGEST_COMMON_NAME:
            return Name(((Attribute(COMMON_NAME, str(name.value)),),))
    return Name()
