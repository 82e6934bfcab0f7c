"""`python -m benchmarks [commands issuance ocsp crl acme acme-shares acme-memory timestamps scep scep-memory]`."""

from __future__ import annotations

import sys

from benchmarks.acme import acme, acme_memory
from benchmarks.acme_shares import acme_shares
from benchmarks.commands import commands
from benchmarks.crl import crl
from benchmarks.issuance import issuance
from benchmarks.measure import raw_signing, show
from benchmarks.ocsp import ocsp
from benchmarks.scep import scep, scep_memory
from benchmarks.timestamps import timestamps

ALL = {
    "commands": commands,
    "issuance": issuance,
    "ocsp": ocsp,
    "crl": crl,
    "acme": acme,
    "acme-shares": acme_shares,
    "acme-memory": acme_memory,
    "timestamps": timestamps,
    "scep": scep,
    "scep-memory": scep_memory,
}


def main() -> None:
    show("reference: raw P-256 signature", raw_signing(), "")
    for name in sys.argv[1:] or ALL:
        ALL[name]()


if __name__ == "__main__":
    main()
