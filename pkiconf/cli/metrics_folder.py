"""Where the processes of one listener put their counters, for /metrics to add up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


def prepare_metrics_folder(state: Path, listener: str) -> None:
    """An empty folder, named to the metrics library; the counters of an earlier run are gone with it.

    The operations listener reads what the plain one writes, so it shares that folder and does not empty it.
    """
    folder = state / "metrics" / ("plain" if listener == "operations" else listener)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if listener != "operations":
        for old in folder.glob("*.db"):
            old.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(folder)
