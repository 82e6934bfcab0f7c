"""`pkiconf` and `python -m pkiconf`."""

from __future__ import annotations


def main() -> None:
    from pkiconf.cli.app import run

    run()


if __name__ == "__main__":
    main()
