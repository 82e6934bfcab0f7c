"""Which logs see a certificate, which times are believed, how long logs are left alone, which templates have none."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiconf.errors import Refused
from pkiconf.policy.template import compile_template
from pkiconf.policy.transparency import is_stale, logs_for, pause_before_next
from pkiconf.spec.template import TemplateSpec
from pkiconf.spec.transparency import CTSpec

END = datetime(2030, 7, 1, tzinfo=UTC)


def key(curve: ec.EllipticCurve | None = None) -> str:
    public = ec.generate_private_key(curve or ec.SECP256R1()).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def spec(*intervals: dict[str, str] | None, required: int = 1) -> CTSpec:
    logs = [
        {"url": f"https://log{number}.example/", "key": key(), "not_after": interval}
        for number, interval in enumerate(intervals)
    ]
    return CTSpec.model_validate({"logs": logs, "required_scts": required})


@pytest.mark.parametrize(
    ("interval", "takes"),
    [
        (None, True),
        ({"from": "2030-07-01"}, True),
        ({"from": "2030-07-01T00:00:01Z"}, False),
        ({"until": "2030-07-01"}, False),
        ({"until": "2030-07-01T00:00:01Z"}, True),
        ({"from": "2030-01-01", "until": "2031-01-01"}, True),
        ({"from": "2029-01-01", "until": "2030-01-01"}, False),
    ],
)
def test_a_log_takes_what_ends_within_its_interval(interval: dict[str, str] | None, takes: bool) -> None:
    terms = spec(interval, None)
    assert [log.url for log in logs_for(terms, END)] == ["https://log0.example/"] * takes + ["https://log1.example/"]


def test_too_few_logs_for_an_end() -> None:
    with pytest.raises(Refused, match=r"1 of the template's logs take a certificate that ends on 2030-07-01, and 2"):
        logs_for(spec(None, {"until": "2030-01-01"}, required=2), END)


@pytest.mark.parametrize(("off", "stale"), [(-300, False), (-301, True), (0, False), (300, False), (301, True)])
def test_a_time_is_believed_from_the_reservation_until_now(off: int, stale: bool) -> None:
    reserved, now = 1_000_000, 1_000_000 + 3600
    assert is_stale((reserved if off < 0 else now) * 1000 + off * 1000, reserved, now) is stale


def test_logs_are_left_alone_for_a_quarter_of_the_age() -> None:
    minutes = [0, 1, 4, 20, 240, 10_000]
    pauses = [pause_before_next(int(timedelta(minutes=count).total_seconds())) for count in minutes]
    assert pauses == [60, 60, 60, 300, 3600, 3600]


def template(**fields: object) -> TemplateSpec:
    ct = {"logs": [{"url": "https://log.example/", "key": key()}], "required_scts": 1}
    return TemplateSpec.model_validate({"name": "t", "authority": "a", "ct": ct, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"basic_constraints": {"ca": True}, "key_usage": {"values": ["keyCertSign"]}},
            "certificates of authorities are not shown to logs",
        ),
        (
            {"extensions": {"custom": [{"oid": "1.3.6.1.4.1.11129.2.4.3", "critical": True, "der": "0500"}]}},
            "put in by themselves",
        ),
        ({"extensions": {"custom": [{"oid": "1.3.6.1.4.1.11129.2.4.2", "der": "0400"}]}}, "put in by themselves"),
        (
            {"ct": {"logs": [{"url": "https://log.example/", "key": key(ec.SECP384R1())}], "required_scts": 1}},
            "https://log.example/: a log's key is an EC key on P-256",
        ),
        (
            {"ct": {"logs": [{"url": "https://log.example/", "key": "AAAA"}], "required_scts": 1}},
            "https://log.example/: ",
        ),
    ],
)
def test_templates_that_logs_have_nothing_to_do_with(fields: dict[str, object], said: str) -> None:
    with pytest.raises(Refused, match=said):
        compile_template(template(**fields))


def test_a_key_may_be_written_as_pem() -> None:
    text = key()
    armoured = f"-----BEGIN PUBLIC KEY-----\n{text[:64]}\n{text[64:]}\n-----END PUBLIC KEY-----\n"
    ct = {"logs": [{"url": "https://log.example/", "key": armoured}], "required_scts": 1}
    found = template(ct=ct).ct
    assert found is not None
    assert found.logs[0].key == text
