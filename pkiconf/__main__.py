"""`pkiconf` and `python -m pkiconf`."""

from __future__ import annotations

import gc


def main() -> None:
    # What is made while starting stays: looking through it for garbage again and again is a tenth of a short command.
    gc.set_threshold(50_000, 20, 20)
    from pkiconf.cli.app import run

    run()


if __name__ == "__main__":
    main()
