"""`pkiconf acme client`."""

from __future__ import annotations

import click

from pkiconf.cli.client_pages import CLIENTS, client_page
from pkiconf.cli.context import services


@click.command(
    help=f"Print how a client is set up, with the URL of this PKI's own directory. Clients: {', '.join(CLIENTS)}."
)
@click.argument("name", metavar="CLIENT", type=click.Choice(tuple(CLIENTS)))
@click.option("--policy", metavar="POLICY", help="Begin at this policy's own directory, not at the common one.")
def client(name: str, policy: str | None) -> None:
    from pkiconf.model.acme_urls import URLs

    with services() as s:
        urls = URLs(s.settings.read().enrolment_url)
        slug = s.acme.policies.get(policy).slug if policy else None
    click.echo(client_page(name, urls.directory(slug), policy=policy), nl=False)
