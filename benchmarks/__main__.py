"""`python -m benchmarks [--server gunicorn|granian] [NAME…]`; with `--help`, the names.

`--server` says what serves the plain listener; without it, `ocsp` and `hosts` measure both, and the others gunicorn.
"""

from __future__ import annotations

import argparse
import os

from benchmarks.acme import acme, acme_memory
from benchmarks.acme_peer import acme_peer
from benchmarks.acme_shares import acme_shares
from benchmarks.commands import commands
from benchmarks.crl import crl
from benchmarks.hosts import hosts
from benchmarks.issuance import issuance
from benchmarks.measure import SERVER, raw_signing, show
from benchmarks.ocsp import ocsp
from benchmarks.scep import scep, scep_memory
from benchmarks.status import status
from benchmarks.timestamps import timestamps

ALL = {
    "commands": commands,
    "issuance": issuance,
    "ocsp": ocsp,
    "hosts": hosts,
    "crl": crl,
    "status": status,
    "acme": acme,
    "acme-shares": acme_shares,
    "acme-peer": acme_peer,
    "acme-memory": acme_memory,
    "timestamps": timestamps,
    "scep": scep,
    "scep-memory": scep_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--server", choices=["gunicorn", "granian"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    asked = parser.parse_args()
    if unknown := set(asked.names) - ALL.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if asked.server:
        os.environ[SERVER] = asked.server  # `pkiconf serve` reads it
    show("reference: raw P-256 signature", raw_signing(), "")
    for name in asked.names or ALL:
        ALL[name]()


if __name__ == "__main__":
    main()
