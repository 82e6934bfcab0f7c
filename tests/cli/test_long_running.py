from __future__ import annotations

import subprocess
import sys


def test_what_is_there_is_left_alone_and_what_comes_is_looked_through_seldom() -> None:
    """In a process of its own: it concerns everything in one."""
    script = (
        "import gc, weakref; from pkiconf.cli.long_running import settle; gc.disable();"
        "ring = type('Ring', (), {})(); ring.ring = ring; dead = weakref.ref(ring); del ring; settle();"
        "print(dead() is None, gc.get_freeze_count() > 1000, gc.get_threshold()[0])"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "True", "50000"]
