"""`pkiconf acme …`: policies and bindings, accounts and orders of ACME clients."""

from __future__ import annotations

import click

from pkiconf.cli import acme_accounts, acme_bindings, acme_client, acme_orders, acme_policies
from pkiconf.cli.lazy import SuggestingGroup


@click.group(cls=SuggestingGroup)
def group() -> None:
    """ACME: who may get certificates without anybody deciding, and what became of it. Policies are declared in YAML."""


group.add_command(acme_policies.group)
group.add_command(acme_bindings.group)
group.add_command(acme_accounts.group)
group.add_command(acme_orders.group)
group.add_command(acme_client.client)
