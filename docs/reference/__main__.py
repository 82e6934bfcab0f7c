"""`python -m docs.reference`."""

from __future__ import annotations

from docs.reference.pages import write

for path in write():
    print(path)
