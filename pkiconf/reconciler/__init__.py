"""Converge to what is declared: `diff(desired, actual, now) → plan`, as arithmetic.

`state`, `desired`, `diff`, `plan` and `render` are pure and take values only. `observe` reads the world in one
transaction, `apply` changes it, `watch` notices edited files. One file in `kinds` says what is special about
each declared kind; everything else here is the same for all of them.
"""
