"""Make `pkiconf/policy/debian-weak-rsa.bin`, the list of RSA keys that Debian's OpenSSL could make (CVE-2008-0166).

Sources, in any number and order:

* what `generate.c` beside this file prints (it makes the keys again; RSA-2048 takes three hours of one core)::

      cc -O2 -march=native -o generate generate.c -lgmp -lcrypto
      ./generate 2048 1 32767 > rsa-2048.txt
      python build.py rsa-2048.txt

  Check the generator first: `./generate 2048 32767 32767 | sort | sha1sum` prints
  2a910e906624766546114d300ca6b671c7acc08c, the value published for the nine keys of that process number.
* files of Debian's packages openssl-blacklist and openssl-blacklist-extra (`blacklist.RSA-2048` and so on; Debian 8
  was the last to carry them).

A line of either holds the end of the SHA-1 of a modulus in hex; lines that begin with # are skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pkiconf.policy.debian import FINGERPRINT_SIZE, encode_list

TARGET = Path(__file__).resolve().parents[2] / "pkiconf" / "policy" / "debian-weak-rsa.bin"


def read_fingerprints(lines: Iterable[str]) -> set[bytes]:
    """Raises ValueError for a line that is not hex, or too short."""
    found = set()
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        digest = bytes.fromhex(text)
        if len(digest) < FINGERPRINT_SIZE:
            raise ValueError(f"{text!r} is too short for a fingerprint")
        found.add(digest[-FINGERPRINT_SIZE:])
    return found


def main(paths: list[str]) -> None:
    fingerprints: set[bytes] = set()
    for path in paths:
        with Path(path).open() as lines:
            fingerprints |= read_fingerprints(lines)
    TARGET.write_bytes(encode_list(fingerprints))
    print(f"{len(fingerprints)} fingerprints, {TARGET.stat().st_size} octets in {TARGET}")


if __name__ == "__main__":
    main(sys.argv[1:])
