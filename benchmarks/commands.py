"""Whole processes: help, a no-op apply, and the plan of a thousand objects.

They are measured as an installed program runs, whose modules were compiled when it was installed: compiling them anew
each time, as PYTHONDONTWRITEBYTECODE makes a checkout do, takes as long as all the rest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import middle, show, timed

_QUICKSTART = Path(__file__).parent.parent / "examples/quickstart.yaml"


def commands() -> None:
    _pkiconf("--help")  # compiles
    bare = middle(lambda: _seconds("-c", "pass"))
    reference = f"bare interpreter {bare:.2f} s"
    show("pkiconf --help", f"{middle(lambda: _pkiconf('--help')):.2f} s", "≤ 0.3 s", reference)
    with tempfile.TemporaryDirectory() as folder:
        state = ("--state", f"{folder}/state")
        _pkiconf(*state, "apply", str(_QUICKSTART))
        noop = middle(lambda: _pkiconf(*state, "apply", str(_QUICKSTART)))
        show("no-op apply of the quickstart, whole process", f"{noop:.2f} s", "≤ 1.2 s", reference)
        big = Path(folder) / "big.yaml"
        big.write_text(_thousand())
        _pkiconf(*state, "plan", "--json", str(big), code=2)
        first = middle(lambda: _planned(big), 3)
        show("plan of 1,000 declared objects, in process", f"{first:.2f} s", "≤ 1 s")
        whole = middle(lambda: _pkiconf(*state, "plan", "--json", str(big), code=2), 3)
        show("plan of 1,000 declared objects, whole process", f"{whole:.2f} s", "")


def _planned(path: Path) -> float:
    from pkiconf.clock import SystemClock
    from pkiconf.reconciler.observe import load_plan
    from pkiconf.reconciler.render import render_plan
    from pkiconf.spec.loader import load_files

    with timed() as seconds:
        document = load_files([path])
        render_plan(load_plan(None, document, now=SystemClock().now()))
    return seconds()


def _thousand() -> str:
    """20 authorities and 980 templates."""
    lines = ["authorities:", "  - { name: a0 }"]
    lines += [f"  - {{ name: a{n}, issuer: a0 }}" for n in range(1, 20)]
    lines.append("templates:")
    lines += [
        f"  - {{ name: t{n}, authority: a{1 + n % 19}, starter: web-server, validity: 60d, "
        f'names: {{ allow: {{ dns: ["*.n{n}.corp.example"] }} }} }}'
        for n in range(980)
    ]
    return "\n".join(lines) + "\n"


def _pkiconf(*arguments: str, code: int = 0) -> float:
    return _seconds("-m", "pkiconf", *arguments, code=code)


def _seconds(*arguments: str, code: int = 0) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with timed() as seconds:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, env=environment)
    assert done.returncode == code, done.stderr.decode()
    return seconds()
