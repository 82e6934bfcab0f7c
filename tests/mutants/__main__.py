"""`python -m tests.mutants [WORD…]`: remove each guard (whose name or file has one of the words) and see a test fail.

The working tree is never touched. Exit status 1 when a guard's removal went unnoticed, 2 when no guard has such a word.
"""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue

from tests.mutants.guards import GUARDS, Guard
from tests.mutants.runner import Outcome, Tree, Verdict, read_noticed, write_noticed


def main(words: list[str]) -> int:
    chosen = [guard for guard in GUARDS if not words or any(word in f"{guard.name} {guard.file}" for word in words)]
    if not chosen:
        print(f"No guard's name or file has {' or '.join(map(repr, words))} in it. They stand in tests/mutants.")
        return 2
    with tempfile.TemporaryDirectory(prefix="pkiconf-mutants-") as folder:
        width = min(os.cpu_count() or 1, 8)
        trees: Queue[Tree] = Queue()
        for number in range(width):
            trees.put(Tree(Path(folder) / str(number)))

        def judge(guard: Guard) -> Outcome:
            tree = trees.get()
            try:
                return tree.judge(guard, confirmed=False)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(width) as threads:
            outcomes = [_said(outcome) for outcome in threads.map(judge, chosen)]
        failing = trees.get().failing({one.test for one in outcomes if one.verdict is Verdict.NOTICED})
        outcomes = [replace(one, verdict=Verdict.BROKEN) if one.test in failing else one for one in outcomes]
    known = {guard.name for guard in GUARDS}
    found = {one.guard.name: one.test for one in outcomes if one.verdict is Verdict.NOTICED}
    write_noticed({name: test for name, test in (read_noticed() | found).items() if name in known})
    missed = [outcome for outcome in outcomes if outcome.verdict is not Verdict.NOTICED]
    print(f"{len(outcomes) - len(missed)} of {len(outcomes)} removed guards were noticed.")
    for outcome in missed:
        print(f"{outcome.verdict}: {outcome.guard.name} ({outcome.guard.file})")
    return 1 if missed else 0


def _said(outcome: Outcome) -> Outcome:
    print(f"{outcome.verdict:12} {outcome.seconds:6.1f} s  {outcome.guard.name}  ← {outcome.test}", flush=True)
    if outcome.verdict is Verdict.BROKEN:
        print(outcome.output)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
