"""Revokes, where it runs: `python -m tests.hosts.revoker STATE`, one `issuer serial` a line on standard input. A line
comes back when a revocation was acknowledged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pkiconf.bootstrap import open_services
from pkiconf.model.certificate import CertificateID
from pkiconf.model.revocation import RevocationReason
from pkiconf.settings import ProcessSettings
from tests.world import OPERATOR


def main() -> None:
    url, key = os.environ["PKICONF_DATABASE_URL"], Path(os.environ["PKICONF_MASTER_KEY_FILE"])
    with open_services(ProcessSettings(state=Path(sys.argv[1]), database_url=url, master_key_file=key)) as services:
        for line in sys.stdin:
            issuer_id, serial = map(int, line.split())
            services.revocations.revoke(CertificateID(issuer_id, serial), RevocationReason.SUPERSEDED, OPERATOR)
            print(serial, flush=True)


if __name__ == "__main__":
    main()
