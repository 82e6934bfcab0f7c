"""SCEP over HTTP: first enrolments of RSA-2048 devices by passphrase, every step durable.

The messages are made beforehand, so the load costs next to nothing; each is another subject in another transaction.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.request import urlopen

from asn1crypto import cms

from benchmarks.installation import Running, running
from benchmarks.measure import Figure, show
from benchmarks.reference import beside
from tests.ports import free_port
from tests.scep_client import Device, Wish, make_request, message

CLIENTS = 4
COUNT = 3000
WARM = 200
ENROLMENTS = 20_000
"""For the memory; a tenth before that fills caches. The variable ENROLMENTS asks for another number."""
_PASSPHRASE = "a-passphrase-for-all"
_STATUS = bytes.fromhex("060a6086480186f845010903310313")
_DECLARATION = """
settings: {{ base_url: "http://127.0.0.1:{port}" }}
authorities:
  - {{ name: root, key: {{ type: rsa, size: 2048 }} }}
  - {{ name: issuing, issuer: root, key: {{ type: rsa, size: 2048 }} }}
templates:
  - {{ name: device, authority: issuing, starter: device, validity: 90d,
      scep: {{ enabled: true, static_passphrase: !env BENCHMARK_PASSPHRASE }} }}
"""


@dataclass(frozen=True)
class Serving:
    port: int
    tree: Running


def scep() -> None:
    with ExitStack() as opened:
        serving = opened.enter_context(_serving())
        _enrol(serving, "warm", WARM)
        with beside("RSA-2048") as raw:
            figure, latencies = _enrol(serving, "run", COUNT)
        p50, p99 = (latencies[int(len(latencies) * part)] * 1000 for part in (0.5, 0.99))
        reference = (
            f"p50 {p50:.0f} ms p99 {p99:.0f} ms; raw RSA-2048 signature {raw.cpu:.3f} ms: CPU ratio "
            f"{figure.cpu / raw.cpu:.1f}, of which three are RSA's"
        )
        show(f"SCEP enrolments, RSA-2048, {CLIENTS} clients", figure, "≥ 600/s, ≤ 2.2 ms", reference)


def scep_memory() -> None:
    """Whether it stays flat over many enrolments."""
    enrolments = int(os.environ.get("ENROLMENTS", ENROLMENTS))
    with ExitStack() as opened:
        serving = opened.enter_context(_serving())
        _enrol(serving, "warm", enrolments // 10)
        seen = [serving.tree.memory()]
        for part in range(5):
            _enrol(serving, f"run{part}", enrolments // 5)
            seen.append(serving.tree.memory())
        told = " → ".join(f"{memory:.0f}" for memory in seen)
        show(f"SCEP, memory of server and worker over {enrolments:,} enrolments", f"{told} MB", "flat")


@contextmanager
def _serving() -> Iterator[Serving]:
    port = free_port()
    with running(_DECLARATION.format(port=port), port, {"BENCHMARK_PASSPHRASE": _PASSPHRASE}) as tree:
        yield Serving(port, tree)


def _enrol(serving: Serving, run_name: str, count: int) -> tuple[Figure, list[float]]:
    port = serving.port
    with urlopen(f"http://127.0.0.1:{port}/scep/issuing/device?operation=GetCACert", timeout=60) as answer:
        first, *_ = cms.ContentInfo.load(answer.read())["content"]["certificates"]
    recipient = first.chosen.dump()
    devices = [Device.fresh(number) for number in range(2)]
    messages = [_message(devices[n % 2], f"{run_name}-{n}", recipient) for n in range(count)]
    latencies: list[float] = []
    cpu, clock = serving.tree.cpu(), time.perf_counter()
    threads = [threading.Thread(target=_post, args=(port, messages[n::CLIENTS], latencies)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, used = time.perf_counter() - clock, serving.tree.cpu() - cpu
    assert len(latencies) == count
    return Figure(count / seconds, used / count * 1000), sorted(latencies)


def _message(device: Device, name: str, recipient: bytes) -> bytes:
    asked = make_request(device.key, name, dns=(), challenge=_PASSPHRASE)
    return message(device, asked, recipient, Wish(transaction=name))


def _post(port: int, messages: list[bytes], latencies: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for octets in messages:
        begun = time.perf_counter()
        connection.request("POST", "/scep/issuing/device?operation=PKIOperation", octets)
        answer = connection.getresponse()
        body = answer.read()
        at = body.index(_STATUS) + len(_STATUS)
        assert answer.status == 200
        assert body[at + 1 : at + 2] == b"0", body
        latencies.append(time.perf_counter() - begun)
    connection.close()
