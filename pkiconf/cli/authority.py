"""`pkiconf authority …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, print_table, read_in, write_out

if TYPE_CHECKING:
    from pkiconf.authority.lookup import AuthorityView
    from pkiconf.services import Services
    from pkiconf.store.authorities import CACertificateRow

_out = click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Certificate authorities: declared in YAML; looked at, exported and finished here."""


@group.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List authorities."""
    with services() as s:
        summaries = [_summary(view) for view in s.lookup.list()]
    if as_json:
        print_json(summaries)
        return
    columns = ("name", "state", "issuer", "key", "generation", "not_after")
    rows = [[summary[column] or "-" for column in columns] for summary in summaries]
    print_table(("name", "state", "issuer", "key", "generation", "not after"), rows, "No authorities yet.")


@group.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one authority with its generations, certificates and URLs."""
    with services() as s:
        summary = _details(s.lookup.get(name))
    (print_json if as_json else print_fields)(summary)


@group.command()
@click.argument("name")
@as_json
def urls(name: str, as_json: bool) -> None:
    """Print the authority's URLs, as its certificates carry them."""
    with services() as s:
        found = _urls(s.lookup.get(name))
    (print_json if as_json else print_fields)(found)


@group.command()
@click.argument("name")
@_out
@click.option("--format", "form", type=click.Choice(["pem", "der"]), default="pem", show_default=True)
def csr(name: str, out: Path | None, form: str) -> None:
    """Write a certificate request for the authority's newest key, for another authority to sign."""
    from pkiconf.der.pem import pem_encode

    with services() as s:
        der = s.external.csr(name)
    write_out(der if form == "der" else pem_encode("CERTIFICATE REQUEST", der).encode(), out)


@group.command("install-cert")
@click.argument("name")
@click.argument("certificate", type=click.Path(path_type=Path))
@click.option("--chain", type=click.Path(path_type=Path), help="Every issuer above it up to the root, PEM.")
def install_cert(name: str, certificate: Path, chain: Path | None) -> None:
    """Install the certificate that somebody else issued for the authority's key (`issuer: external`).

    Checked first: the key, CA:TRUE, keyCertSign, validity, path length, and every signature up to the root.
    """
    from pkiconf.der.names import name_text, parse_name

    with services() as s:
        checked = s.external.install(name, read_in(certificate), read_in(chain) if chain else b"", operator())
        s.authorities.finish(name, operator())
    subjects = [name_text(parse_name(above.subject)) for above in checked.above]
    click.echo(f"Authority {name} is active; its chain: {' ← '.join(reversed(subjects)) or 'self-signed'}.")


@group.command()
@click.argument("name")
@_out
@click.option("--format", "form", type=click.Choice(["pem", "der", "p7b"]), default="pem", show_default=True)
@click.option("--chain", is_flag=True, help="With everything above it, the root last.")
def export(name: str, out: Path | None, form: str, chain: bool) -> None:
    """Write an authority's certificate."""
    if chain and form == "der":
        raise click.UsageError("DER holds one certificate: leave out --chain, or use --format p7b")
    with services() as s:
        write_out(s.lookup.export(name, form, chain=chain), out)


@group.command()
@click.argument("name")
def renew(name: str) -> None:
    """Issue the authority's certificate again for the same key, from today, as declared."""
    with services() as s:
        s.authorities.renew(name, operator())
        summary = _summary(s.lookup.get(name))
    click.echo(f"Authority {name} has a new certificate, until {summary['not_after']}.")


@group.command()
@click.argument("name")
@click.option("--confirm", required=True, metavar="NAME", help="The name again: this cannot be undone.")
@click.option("--archive", type=click.Path(path_type=Path), help="Default: NAME-archive.tar in the state folder.")
def destroy(name: str, confirm: str, archive: Path | None) -> int:
    """Remove a retired authority, its keys and certificates for good, after writing an archive of them."""
    if confirm != name:
        click.echo(f"refused: --confirm says {confirm!r}, not {name!r}; nothing was changed", err=True)
        return ExitCode.REFUSED
    with services() as s:
        _make_last_crls(s, name)
        written = s.destruction.destroy(name, operator(), archive)
    click.echo(f"Authority {name} is destroyed. Its certificates, last CRLs and audit records are in {written}.")
    return ExitCode.DONE


def _make_last_crls(s: Services, name: str) -> None:
    """Up to the last revocation, for the archive: nobody may have asked for one since."""
    from pkiconf.errors import PkiconfError

    view = s.lookup.get(name)
    if view.row.lifecycle != "retired":
        return
    for issuer in view.issuers:
        if issuer.state in ("active", "retiring"):
            try:
                s.crls.current(issuer.id)
            except PkiconfError as ex:
                click.echo(f"note: no last CRL of generation {issuer.generation}: {ex}", err=True)


def _summary(view: AuthorityView) -> dict[str, Any]:
    from pkiconf.clock import from_epoch

    own = _preferred(view)
    return {
        "name": view.row.name,
        "state": view.row.lifecycle.replace("_", " "),
        "issuer": view.spec.issuer,
        "key": view.spec.key.algorithm.name,
        "key_source": "generated here" if view.spec.key.source == "generate" else "imported",
        "generation": view.issuers[-1].generation if view.issuers else None,
        "not_after": from_epoch(own.not_after).isoformat() if own else None,
    }


def _preferred(view: AuthorityView) -> CACertificateRow | None:
    return next(
        (row for row in view.certificates if row.preferred and row.issuer_id == view.row.current_issuer_id), None
    )


def _details(view: AuthorityView) -> dict[str, Any]:
    from pkiconf.clock import from_epoch
    from pkiconf.der.certificate import parse_certificate
    from pkiconf.der.names import name_text, parse_name
    from pkiconf.policy.serials import serial_text

    generations = {issuer.id: issuer for issuer in view.issuers}
    certificates = []
    for row in view.certificates:
        issuer, parsed = generations[row.issuer_id], parse_certificate(row.der)
        certificates.append(
            f"generation {issuer.generation} ({issuer.state}), {row.role}, "
            f"serial {serial_text(parsed.serial_number)}, until {from_epoch(row.not_after).isoformat()}"
        )
    subject = view.issuers[-1].subject if view.issuers else None
    return {
        **_summary(view),
        "subject": name_text(parse_name(subject)) if subject else None,
        "slug": view.row.slug,
        "owner": view.row.owner,
        "certificates": certificates,
        **_urls(view),
    }


def _urls(view: AuthorityView) -> dict[str, Any]:
    return {
        "ocsp": view.urls.ocsp,
        "crl": view.urls.crl,
        "certificate": view.urls.aia,
        "chain": view.urls.chain,
        "cps": view.urls.cps,
        **({"timestamps": view.urls.tsa} if view.spec.timestamp.enabled else {}),
    }
