"""What commands read: files and standard input, but never without end."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from pkiconf.cli import output
from pkiconf.cli.output import read_in
from pkiconf.errors import Malformed, Unavailable


class _StandardInput:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_LARGEST_INPUT", 1 << 20)


def test_a_device_without_end_is_refused() -> None:
    with pytest.raises(Malformed, match="more than 1 MiB"):
        read_in(Path("/dev/zero"))


@pytest.mark.parametrize("extra", [0, 1])
def test_the_largest_input_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: int) -> None:
    content = bytes((1 << 20) + extra)
    (tmp_path / "file").write_bytes(content)
    for place in (tmp_path / "file", Path("-")):
        monkeypatch.setattr(sys, "stdin", _StandardInput(content))
        if extra:
            with pytest.raises(Malformed, match="more than 1 MiB"):
                read_in(place)
        else:
            assert read_in(place) == content


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(Unavailable, match=str(path)):
            read_in(path)
