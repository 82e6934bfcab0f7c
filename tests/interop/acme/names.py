"""A DNS server of the tests' own: every name is this machine; TXT records are files that clients' hooks write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnslib import QTYPE, RR, TXT, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

ADDRESS = "127.0.0.1"


class Names(BaseResolver):
    """`folder` holds a file for each name that has TXT records, one record a line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0

    def resolve(self, request: Any, handler: object) -> Any:
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        match QTYPE[request.q.qtype]:
            case "A":
                reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=1, rdata=A(ADDRESS)))
            case "TXT":
                for line in self._records(name):
                    reply.add_answer(RR(request.q.qname, QTYPE.TXT, ttl=1, rdata=TXT(line)))
        return reply

    def _records(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().split() if file.is_file() else []


@contextmanager
def serving_names(folder: Path, port: int) -> Iterator[Names]:
    """Answers at 127.0.0.1, over UDP and TCP."""
    folder.mkdir(parents=True, exist_ok=True)
    names = Names(folder)
    quiet = DNSLogger(logf=lambda line: None)
    servers = [DNSServer(names, port=port, address=ADDRESS, tcp=tcp, logger=quiet) for tcp in (False, True)]
    for server in servers:
        server.start_thread()
    names.port = port
    try:
        yield names
    finally:
        for server in servers:
            server.stop()
            server.server.server_close()
