"""GetCACert over HTTP, read by openssl."""

from __future__ import annotations

import re
import subprocess

import pytest

from pkiconf.endpoints.app import create_app
from pkiconf.settings import ProcessSettings
from tests.endpoints.client import Client
from tests.revocation.pki import PKI
from tests.scep.place import declared
from tests.tools import find_tool
from tests.world import World


def names(world: World, path: str = "/scep/issuing/device") -> list[str]:
    """Common names of what GetCACert gives, in its order."""
    answer = Client(create_app(world.services, ProcessSettings()), PKI(world)).get(f"{path}?operation=GetCACert")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-x509-ca-ra-cert")
    command = [find_tool("openssl"), "pkcs7", "-inform", "DER", "-print_certs", "-noout"]
    printed = subprocess.run(command, input=answer.body, capture_output=True, check=True).stdout.decode()
    return re.findall(r"^subject=CN = (.*)$", printed, flags=re.M)


@pytest.mark.row("F81")
def test_the_root_is_left_out_if_that_is_declared(sqlite_world: World) -> None:
    declared(sqlite_world, "{ enabled: true, challenges: true }")
    whole = names(sqlite_world)
    assert sorted(whole[1:]) == ["issuing", "root"]
    declared(sqlite_world, "{ strip_root: true }")
    assert sorted(names(sqlite_world)) == sorted(name for name in whole if name != "root")


def test_the_urls_of_microsofts_service_are_the_same_service(sqlite_world: World) -> None:
    declared(sqlite_world, "{ enabled: true, challenges: true }")
    whole = names(sqlite_world)
    for path in (
        "/CertSrv/issuing/device/mscep/mscep.dll",
        "/certsrv/issuing/device/mscep/mscep.dll/pkiclient.exe",
        "/certsrv/Issuing/Device/mscep/",
        "/scep/issuing/device/pkiclient.exe",
    ):
        assert names(sqlite_world, path) == whole
