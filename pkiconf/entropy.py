"""Randomness is handed in, so that a test can repeat a run byte for byte."""

from __future__ import annotations

import os
from typing import Protocol


class Entropy(Protocol):
    def token(self, size: int) -> bytes:
        """`size` unpredictable octets."""
        ...


class SystemEntropy:
    def token(self, size: int) -> bytes:
        return os.urandom(size)
