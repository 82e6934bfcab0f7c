"""Plans and applies one file in a process of its own, which a test may have killed at a kill point.

Arguments: state folder, YAML file, allowed actions. Prints the recap.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pkiconf.bootstrap import open_services
from pkiconf.model.actor import Actor
from pkiconf.reconciler.apply import apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.reconciler.state import Action
from pkiconf.settings import ProcessSettings
from pkiconf.spec.loader import load_files
from pkiconf.steps import KILL_VARIABLE


def main(state: str, file: str, *allow: str) -> int:
    # Only what apply itself does is to be cut off, not the opening of the database.
    kill_at = os.environ.pop(KILL_VARIABLE, None)
    with open_services(ProcessSettings(state=Path(state)), create=True) as services:
        if kill_at:
            os.environ[KILL_VARIABLE] = kill_at
        document = load_files([Path(file)])
        plan = load_plan(services, document, now=services.parts.now())
        actor = Actor("operator", "tests", "local-shell")
        recap = apply_plan(services, plan, document, [Action(word) for word in allow], actor)
        print(recap)
        return recap.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
