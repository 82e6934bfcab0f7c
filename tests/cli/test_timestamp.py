"""`pkiconf timestamp …`: made without a network, listed, counted; what the time servers say."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import tsp

from pkiconf.clock import SystemTimepiece
from pkiconf.timestamps import bag
from tests.cli.conftest import CommandLine
from tests.ntp_server import NTPServer

PKI = "authorities: [ { name: ca, timestamp: { enabled: true } }, { name: other } ]"


@pytest.fixture
def stamping(bare: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(bare.folder)
    (bare.folder / "pki.yaml").write_text(PKI)
    (bare.folder / "release.tar").write_text("data")
    bare.ok("apply", "pki.yaml")
    return bare


@pytest.mark.row("F141")
def test_made_listed_and_counted(stamping: CommandLine) -> None:
    stamping.ok("timestamp", "make", "ca", "release.tar", "--out", "release.tsr")
    stamping.ok("timestamp", "make", "ca", "release.tar", "--out", "again.tsr", "--digest", "sha512")
    response = tsp.TimeStampResp.load((stamping.folder / "release.tsr").read_bytes(), strict=True)
    info = response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
    first, second = stamping.ok("timestamp", "list", "ca", "--json").json
    assert first["hash"] == hashlib.sha256(b"data").hexdigest()
    assert second["hash"] == hashlib.sha512(b"data").hexdigest()
    assert first["serial"] == f"{info['serial_number'].native:x}"
    assert first["protocol"] == "rfc3161"
    assert datetime.fromisoformat(first["at"]).replace(microsecond=0) == info["gen_time"].native
    assert stamping.ok("timestamp", "list", "ca", "--limit", "1", "--json").json == [first]
    assert stamping.ok("timestamp", "count", "ca", "--json").json == {"recorded": 2, "counted": 0, "total": 2}
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "total:    0" in stamping.ok("timestamp", "count", "ca", "--since", tomorrow).out
    assert "total:    2" in stamping.ok("timestamp", "count", "ca", "--until", tomorrow).out
    assert first["hash"] in stamping.ok("timestamp", "list", "ca").out
    assert stamping.ok("timestamp", "list", "other").out == "No timestamps are recorded.\n"


@pytest.mark.row("F141")
def test_the_url_is_shown_where_there_is_one(stamping: CommandLine) -> None:
    assert "http://127.0.0.1:8000/tsa/ca" in stamping.ok("authority", "urls", "ca").out
    assert "tsa" not in stamping.ok("authority", "urls", "other").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("timestamp", "make", "other", "release.tar"), "no timestamps here"),
        (("timestamp", "make", "nobody", "release.tar"), "nobody"),
        (("timestamp", "make", "ca", "missing"), "missing"),
        (("timestamp", "list", "nobody"), "nobody"),
        (("timestamp", "count", "nobody"), "nobody"),
        (("timestamp", "clock"), "List some in settings.clock.ntp"),
    ],
)
def test_what_cannot_be(stamping: CommandLine, words: tuple[str, ...], said: str) -> None:
    assert said in stamping.refuses(1, *words)


def test_times_are_read_strictly(stamping: CommandLine) -> None:
    assert "--since" in stamping.refuses(64, "timestamp", "count", "ca", "--since", "yesterday")


@pytest.mark.row("F141")
def test_the_clock_is_compared(stamping: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bag, "PATIENCE", 60.0)
    with NTPServer(SystemTimepiece().wall, root_dispersion=0.01) as right:
        for ahead, code in ((0, 0), (3_600_500_000, 1)):
            right.ahead = ahead
            (stamping.folder / "pki.yaml").write_text(
                f'settings: {{ clock: {{ ntp: ["{right.name}"], tolerance: 60s }} }}\n{PKI}'
            )
            stamping.ok("apply", "pki.yaml")
            result = stamping("timestamp", "clock", "--json")
            assert result.code == code
            found = result.json
            assert found["agree"] is (code == 0)
            assert found["servers"][0].startswith(f"{right.name}: {'+3600.' if ahead else ''}")
