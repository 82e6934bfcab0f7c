"""Where the processes of a server put their counters, for /metrics to add up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


def prepare_metrics_folder(state: Path, *, empty: bool) -> None:
    """A folder named to the metrics library of this process and its children.

    All listeners share it, so that each of them can tell of all. Whoever starts first makes it `empty`: the counters
    of an earlier run are gone with it, those of a process that was restarted count on.
    """
    folder = state / "metrics"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if empty:
        for old in folder.glob("*.db"):
            old.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(folder)
