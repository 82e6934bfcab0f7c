"""Commands start quickly, because they import only what they use."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import QUICKSTART, CommandLine, clean_environment

_LISTING = """
import json, sys
from pkiconf.cli.app import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(name for name in sys.modules)]), file=sys.stderr)
"""


def modules_of(*words: str | Path) -> set[str]:
    """What a command has imported when it ends."""
    command = [sys.executable, "-c", _LISTING, *map(str, words)]
    done = subprocess.run(command, capture_output=True, timeout=120, env=clean_environment(), check=True)
    code, names = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(names)


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("cert", "--help"), ("key", "new", "--help")])
def test_help_needs_click_and_nothing_else(words: tuple[str, ...]) -> None:
    heavy = {
        "alembic", "asyncio", "cryptography", "dns", "falcon", "gunicorn", "pydantic", "rich", "ruamel", "sqlalchemy",
    }  # fmt: skip
    assert not heavy & modules_of(*words)


def test_offline_commands_need_no_database(tmp_path: Path) -> None:
    loaded = modules_of("key", "new", "--out", tmp_path / "a.key")
    assert not {"sqlalchemy", "ruamel", "alembic", "falcon"} & loaded
    assert not {"sqlalchemy", "ruamel"} & modules_of("validate", "--help")


def test_an_apply_without_changes_leaves_the_rest_alone(pki: CommandLine) -> None:
    loaded = modules_of("--state", pki.state, "apply", QUICKSTART, "--yes")
    rest = {
        "alembic", "asn1crypto", "dns", "falcon", "gunicorn", "http.client", "idna", "prometheus_client", "psycopg",
        "rich", "sqlalchemy.dialects.postgresql", "watchfiles",
    }  # fmt: skip
    assert not rest & loaded
    assert not [name for name in loaded if re.fullmatch(r"pkiconf\.(acme|enrolment|scep|timestamps)\.(.+\.)?bag", name)]


_SERVED = """
import sys
from pathlib import Path
from pkiconf.cli.server import Server
from pkiconf.settings import ProcessSettings
server = Server(ProcessSettings(state=Path(sys.argv[1])), "127.0.0.1:0")
before = set(sys.modules)
server.load()
server._opened.services.make_everything()
server._opened.services.https._shared()
print(*sorted(name for name in sys.modules.keys() - before if name.startswith(("pkiconf.", "httpcore"))))
"""


def test_what_is_served_is_imported_before_processes_are_forked(pki: CommandLine) -> None:
    """Each would hold it for itself, and one that starts after an update would mix old and new."""
    done = subprocess.run(
        [sys.executable, "-c", _SERVED, str(pki.state)],
        capture_output=True, timeout=120, env=clean_environment(), check=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["pkiconf.store.gate", "pkiconf.store.sqlite"]  # which database is seen then


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Python keeps what it compiled, as beside an installed program."""
    return tmp_path_factory.mktemp("compiled")


def cpu_seconds(compiled: Path, *commands: tuple[str | Path, ...]) -> list[float]:
    """Processor time of the quickest of five runs of Python with each command, in turns, for a machine's speed changes
    from one minute to the next. The first run of each compiles what it imports."""
    environment = {**clean_environment(), "PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    rounds = [[_spent(environment, words) for words in commands] for _ in range(5)]
    return [min(spent) for spent in zip(*rounds, strict=True)]


def _spent(environment: dict[str, str], words: tuple[str | Path, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *map(str, words)], capture_output=True, timeout=120, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_within_a_blink(compiled: Path) -> None:
    """0.3 s on the clock are asked for; a busy machine adds less to processor time."""
    [spent] = cpu_seconds(compiled, ("-m", "pkiconf", "--help"))
    assert spent < 0.3


def test_an_apply_without_changes_costs_little_more_than_its_libraries(pki: CommandLine, compiled: Path) -> None:
    """1.2 s are asked for on a quiet machine. There it is 1.7 to 2 times what cannot be helped; on a busy one, where
    caches are shared, the ratio itself moves by a tenth or two: what is ours is beyond the limit each time."""
    libraries = "import click, cryptography.x509, pydantic_settings, ruamel.yaml, sqlalchemy.dialects.sqlite"
    ours = ("-m", "pkiconf", "--state", pki.state, "apply", QUICKSTART, "--yes")
    times = []
    for _ in range(3):
        whole, helpless = cpu_seconds(compiled, ours, ("-c", libraries))
        times.append(whole / helpless)
        if times[-1] < 2.3:
            return
    pytest.fail(f"{times} times")
