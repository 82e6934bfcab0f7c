"""The root command: global options, the table of commands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from pkiconf import __version__
from pkiconf.cli.context import set_options
from pkiconf.cli.exit_codes import ExitCode, exit_code_of
from pkiconf.cli.lazy import Entry, LazyGroup
from pkiconf.errors import PkiconfError

COMMANDS: Final[Mapping[str, Entry]] = {
    "up": Entry("serving", "up", "Apply, serve, work and watch: everything, in one process tree"),
    "init": Entry("declare", "init", "Write a first declaration to start from"),
    "validate": Entry("declare", "validate", "Check declarations; nothing is read or changed besides"),
    "plan": Entry("reconcile", "plan", "Show what would change"),
    "apply": Entry("reconcile", "apply", "Converge the database and the keys to the declarations"),
    "watch": Entry("reconcile", "watch", "Apply again whenever a declaration changes"),
    "schema": Entry("declare", "schema", "Print the JSON Schema of declarations, for editors"),
    "explain": Entry("declare", "explain", "Say what a field means, its default and what is allowed"),
    "authority": Entry("authority", "group", "List, show, export, install, renew, destroy authorities"),
    "template": Entry("template", "group", "List, show, delete templates"),
    "request": Entry("request", "group", "Submit, list, sign, approve and decline certificate requests"),
    "cert": Entry("cert", "group", "Find, export, revoke, hold, release; make self-signed ones"),
    "acme": Entry("acme", "group", "Policies, bindings, accounts and orders of ACME clients"),
    "scep": Entry("scep", "group", "Challenges and passphrases that devices enrol with"),
    "crl": Entry("crl", "group", "Fetch and look at CRLs"),
    "ocsp": Entry("ocsp", "group", "Ask the OCSP responder about a certificate"),
    "timestamp": Entry("timestamp", "group", "Make timestamps, list and count them, look at the clock"),
    "key": Entry("key", "group", "Make private keys and look at them, offline"),
    "csr": Entry("csr", "group", "Make certificate requests and look at them, offline"),
    "serve": Entry("serving", "serve", "Answer OCSP, CRL and other requests over HTTP"),
    "worker": Entry("serving", "worker", "Do what is due: renewals, CRLs, interrupted certificates"),
    "audit": Entry("audit", "group", "List, verify and export the audit log"),
    "keystore": Entry("keystore", "group", "Change the master key"),
    "backup": Entry("backup", "backup", "Write a consistent copy of everything but the master key"),
    "restore": Entry("backup", "restore", "Set up an empty installation from a backup"),
    "db": Entry("database", "group", "Upgrade the database's schema"),
    "doctor": Entry("doctor", "doctor", "Look for what is wrong or soon will be, with remedies"),
}


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="A PKI that lives in Git: declared in YAML, converged by a reconciler, served to real clients.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="State folder. Default: .pkiconf in the nearest parent that has one, else here.",
)
@click.option(
    "--database-url", help="postgresql://… or sqlite:///…; one with a password belongs into PKICONF_DATABASE_URL."
)
@click.option("--master-key-file", type=click.Path(path_type=Path), help="Default: master.key in the state folder.")
@click.option("--vault-password-file", type=click.Path(path_type=Path), help="Password file, or command, for !vault.")
@click.version_option(__version__, prog_name="pkiconf", message="%(prog)s %(version)s")
def root(**options: object) -> None:
    set_options(**options)


def run(arguments: list[str] | None = None) -> None:
    """Run one command line and end the process with its exit status."""
    sys.exit(main(sys.argv[1:] if arguments is None else arguments))


def main(arguments: list[str]) -> int:
    """The exit status of one command line. Errors are one paragraph on standard error, never a traceback, unless
    PKICONF_DEBUG is set."""
    try:
        result = root.main(args=arguments, prog_name="pkiconf", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        return _usage(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; it has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:
        if os.environ.get("PKICONF_DEBUG"):
            raise
        return _failure(error)
    return result if isinstance(result, int) else ExitCode.DONE


def _usage(error: click.ClickException) -> int:
    click.echo(f"error: {error.format_message()}", err=True)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        click.echo(f"{context.get_usage()}\nSee `{context.command_path} --help`.", err=True)
    return ExitCode.USAGE


def _failure(error: Exception) -> int:
    if isinstance(error, PkiconfError):
        code = exit_code_of(error)
        click.echo(f"{'refused' if code is ExitCode.REFUSED else 'error'}: {error}", err=True)
        return code
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror}", err=True)
    else:
        click.echo(
            f"error: {type(error).__name__}: {error}\nThis is a fault of pkiconf itself. "
            "PKICONF_DEBUG=1 shows where it happened; please report that.",
            err=True,
        )
    return ExitCode.ERROR
