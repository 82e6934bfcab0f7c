"""Durable issuance through the whole pipeline on SQLite: parse the CSR, evaluate, lint, reserve, sign, complete."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

from benchmarks.measure import Figure, raw_signing, run, show
from benchmarks.prepared import OPERATOR, prepared
from pkiconf.der.csr import parse_csr
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.pipeline import BATCH
from pkiconf.issuance.requests import current_issuer, find_template
from pkiconf.model.request import Issued
from pkiconf.policy.overrides import apply_overrides
from tests.world import make_csr

COUNT = 3000
STRANGERS = 2000
_NAME = "host-{}.corp.example"


def issuance() -> None:
    with prepared() as services:
        template_id = services.parts.db.read(lambda c: find_template(c, "issuing/web-server").id)
        issuer_id = services.parts.db.read(lambda c: current_issuer(c, template_id))
        # More of them than anything keeps: each certificate is for a name and a key that were not seen lately.
        strangers = itertools.cycle([make_csr(name, (name,)) for name in map(_NAME.format, range(STRANGERS))])

        def order(origin: str) -> IssuanceOrder:
            """Reading the request and checking its signature is part of the work."""
            wanted = apply_overrides(parse_csr(next(strangers)))
            return IssuanceOrder(
                issuer_id, template_id, wanted, "listener", origin, "template/issuing/web-server", OPERATOR
            )  # fmt: skip

        def issue(number: int, run_name: str) -> None:
            assert isinstance(services.pipeline.issue(order(f"{run_name}-{number}")), Issued)

        def issue_batch(number: int) -> None:
            outcomes = services.pipeline.issue_many([order(f"b{number}-{n}") for n in range(BATCH)])
            assert all(isinstance(outcome, Issued) for outcome in outcomes)

        issue(0, "warm")
        raw = raw_signing()
        for threads in (1, 8, 16):
            figure = run(partial(issue, run_name=f"t{threads}"), COUNT, threads)
            _show(f"{threads} thread(s)", figure, raw)
        batched = run(issue_batch, COUNT // BATCH)
        _show(f"in batches of {BATCH}", Figure(batched.rate * BATCH, batched.cpu / BATCH), raw)
        _profile(issue)


def _show(how: str, figure: Figure, raw: Figure) -> None:
    reference = f"raw P-256 sign {raw.rate:,.0f}/s, {raw.cpu:.3f} ms: CPU ratio {figure.cpu / raw.cpu:.0f}"
    show(f"issuance, durable, P-256, {how}", figure, "≥ 1,000/s, ≤ 0.6 ms", reference)


def _profile(issue: Callable[[int, str], None]) -> None:
    """Where the time goes, by room."""
    import cProfile
    import pstats

    profile = cProfile.Profile()
    profile.enable()
    for number in range(500):
        issue(number, "profile")
    profile.disable()
    stats = pstats.Stats(profile)
    rooms: dict[str, float] = {}
    for (file, _, _), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        room = file.split("pkiconf/")[-1].split("/")[0] if "pkiconf/" in file else "engine, database, interpreter"
        rooms[room] = rooms.get(room, 0.0) + own
    total = sum(rooms.values())
    shares = ", ".join(f"{room} {own / total:.0%}" for room, own in sorted(rooms.items(), key=lambda x: -x[1])[:9])
    print(f"    where it goes (profiled, one thread): {shares}")
