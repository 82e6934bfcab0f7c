"""PostgreSQL's disk is really full while tokens are to be recorded; `test_ledger` has the same of SQLite."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from pkiconf.errors import Unavailable
from pkiconf.model.timestamps import FailureInfo
from pkiconf.store import timestamps
from pkiconf.store.database import Database
from tests.endpoints.client import client_of
from tests.revocation.pki import PKI
from tests.timestamps.stamping import authenticode_request, declare, granted, query, refused
from tests.world import World, make_world


@contextmanager
def small_disk(owner: os.stat_result) -> Iterator[Path]:
    """A file system of 1 MiB, `owner`'s, where the server reaches it."""
    with tempfile.TemporaryDirectory(prefix="pkiconf-small-") as folder:
        Path(folder).chmod(0o755)
        small = Path(folder) / "small"
        small.mkdir()
        options = f"size=1m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", small], capture_output=True).returncode:
            pytest.skip("mounting is not allowed here")
        try:
            yield small
        finally:
            subprocess.run(["umount", "--lazy", small], check=True)


@contextmanager
def tokens_on_a_small_disk(url: str) -> Iterator[Path]:
    """Only the table of tokens is there. A table space is the server's, so its name is that of this database."""
    with psycopg.connect(url, autocommit=True) as c:
        name = c.execute("SELECT current_database(), current_setting('data_directory')").fetchone()
        assert name is not None
        with small_disk(Path(name[1]).stat()) as small:
            (space := small / "space").mkdir()
            os.chown(space, small.stat().st_uid, small.stat().st_gid)
            c.execute(f"CREATE TABLESPACE {name[0]} LOCATION '{space}'")
            try:
                c.execute(f"ALTER TABLE timestamp_token SET TABLESPACE {name[0]}")
                yield small
            finally:
                (small / "ballast").unlink(missing_ok=True)
                c.execute("ALTER TABLE timestamp_token SET TABLESPACE pg_default")
                c.execute(f"DROP TABLESPACE {name[0]}")


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(4096)) == 4096:
            pass
    assert shutil.disk_usage(disk).free == 0


def recorded(world: World) -> int:
    authority = world.services.lookup.get("issuing").row.id
    return world.parts.db.read(lambda c: timestamps.count(c, authority, 0, 1 << 55))[0]


@pytest.mark.row("F141")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_when_the_servers_disk_is_full_no_token_leaves(
    postgres_url: str, postgres_database: Database, tmp_path: Path
) -> None:
    world = make_world(postgres_database, tmp_path / "world")
    declare(world)
    request, older = query(tmp_path), authenticode_request(b"signature")
    client = client_of(PKI(world))
    with tokens_on_a_small_disk(postgres_url) as disk:
        granted(world, request)
        fill(disk)
        given = 1
        while (answered := world.services.timestamps.answer("issuing", request))[1] is None:
            given += 1  # in what is left of the page before
            assert given < 1000
        assert answered[1] is FailureInfo.SYSTEM_FAILURE
        for word in (b"disk", b"space", b"server"):
            assert word not in answered[0], "that is no business of a client"
        assert refused(world, request)[0] is FailureInfo.SYSTEM_FAILURE
        with ThreadPoolExecutor(4) as pool:  # also of those that are recorded together
            found = list(pool.map(lambda _: world.services.timestamps.answer("issuing", request)[1], range(16)))
        assert set(found) == {FailureInfo.SYSTEM_FAILURE}
        with pytest.raises(Unavailable, match="the database server's disk is full"):
            world.services.timestamps.countersign("issuing", older)
        answer = client.post("/tsa/issuing", older, content_type="application/octet-stream")
        assert answer.status == 503
        assert recorded(world) == given
        (disk / "ballast").unlink()
        granted(world, request)
        assert client.post("/tsa/issuing", older, content_type="application/octet-stream").status == 200
        assert recorded(world) == given + 2
