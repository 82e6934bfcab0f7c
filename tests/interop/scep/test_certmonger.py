"""certmonger over its own session bus: a request with a challenge, then renewals with the same key and another."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.interop.scep.pki import ALL, PASSPHRASE, PKI
from tests.tools import find_tool, openssl_knows_ml_dsa

SCRIPT = """
certmonger -s -n >daemon.log 2>&1 &
for n in $(seq 600); do getcert list-cas -s >/dev/null 2>&1 && break; sleep 0.1; done
getcert add-scep-ca -s -c ca -u "$URL"
for n in $(seq 600); do getcert list-cas -s -c ca | grep -q 'thumbprint\\|helper' && break; sleep 0.1; done
getcert request -s -c ca -k "$PWD/key.pem" -f "$PWD/cert.pem" -N CN=monger -D monger.corp.example -L "$CHALLENGE" \\
    -I one -w
getcert list -s -i one
[ -f cert.pem ] && cp cert.pem first.pem
[ -f first.pem ] && getcert resubmit -s -i one -w && cp cert.pem second.pem
[ -f first.pem ] && getcert rekey -s -i one -w && cp cert.pem third.pem
getcert list -s -i one
kill %1
"""


def run(pki: PKI, folder: Path, authority: str, challenge: str = PASSPHRASE, template: str = "device") -> str:
    find_tool("getcert")
    find_tool("certmonger")
    for name in ("requests", "cas", "tmp", "local"):
        (folder / name).mkdir()
    (folder / "session.sh").write_text(SCRIPT)
    environment = {
        **os.environ, "URL": pki.url(authority, template), "CHALLENGE": challenge, "HOME": str(folder),
        "CERTMONGER_REQUESTS_DIR": f"{folder}/requests", "CERTMONGER_CAS_DIR": f"{folder}/cas",
        "CERTMONGER_TMPDIR": f"{folder}/tmp", "CERTMONGER_LOCAL_CA_DIR": f"{folder}/local",
        "CERTMONGER_CONFIG_DIR": str(folder),
    }  # fmt: skip
    done = subprocess.run(
        [find_tool("dbus-run-session"), "--", "bash", "session.sh"], cwd=folder, env=environment, timeout=240,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("authority", ALL)
def test_enrolment_and_renewal(pki: PKI, tmp_path: Path, authority: str) -> None:
    said = run(pki, tmp_path, authority)
    assert (tmp_path / "third.pem").exists(), said
    texts = [pki.verified(tmp_path / f"{name}.pem", authority) for name in ("first", "second", "third")]
    assert all("DNS:monger.corp.example" in text for text in texts)
    assert len({re.search(r"Serial Number:\s*(\S+)", text)[1] for text in texts}) == 3  # type: ignore[index]
    keys = [re.search(r"Modulus:\s*(.*?)Exponent", text, re.DOTALL)[1] for text in texts]  # type: ignore[index]
    assert keys[0] == keys[1] != keys[2]
    assert "status: MONITORING" in said


def test_a_refusal_is_one_for_it_too(pki: PKI, tmp_path: Path) -> None:
    """Its OpenSSL does not verify an answer without content, as those to what is refused or waits have to be (RFC 8894
    §3.3.2.2): it gets nothing, and asks again later."""
    said = run(pki, tmp_path, "rsa", "wrong-passphrase")
    assert not (tmp_path / "cert.pem").exists()
    assert "status: CA_UNREACHABLE" in said, said
    assert "PKCS7 routines::no content" in said


def test_what_waits_for_a_person_is_a_refusal_to_it_too(pki: PKI, tmp_path: Path) -> None:
    """So it polls for nothing; the request is there, and waits."""
    said = run(pki, tmp_path, "rsa", pki.installation.run("scep", "challenge", "rsa/waits").stdout.strip(), "waits")
    assert not (tmp_path / "cert.pem").exists()
    assert "status: CA_UNREACHABLE" in said, said
    assert "PKCS7 routines::no content" in said
    assert "CN=monger" in pki.installation.run("request", "list", "--state", "pending").stdout


def test_an_ml_dsa_authority_is_beyond_it_where_it_is_beyond_openssl(pki: PKI, tmp_path: Path) -> None:
    said = run(pki, tmp_path, "ml-dsa")
    assert (tmp_path / "cert.pem").exists() == openssl_knows_ml_dsa(), said
