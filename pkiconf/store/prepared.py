"""Statements compiled once.

A Core statement costs about 70 µs of Python each time it is run, most of it spent on finding out again what
it compiles to. A `Prepared` compiles once for each dialect and then hands text and values to the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import starmap
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar, overload

from sqlalchemy import Table, TextClause, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

R = TypeVar("R")

_NOTHING: Final[Mapping[str, Any]] = {}
_FEW: Final = 500  # ten times as many at once take a quarter longer: they fall out of the cache
_CURSOR: Final = "pkiconf cursor"
"""Where a connection's own keepsakes have it; they go when the driver's connection does."""


class Prepared(Generic[R]):
    """A statement whose parameters are its `bindparam` names, and the type its rows become.

    `row` is called with a row's columns in the statement's order; without one, rows are tuples. What is read for every
    request is a NamedTuple, which takes a sixth of the time that a frozen dataclass takes. `sqlite` is what to run
    there instead, where it says the same in other words or its planner needs to be told something. Lists as one
    parameter (`IN (…)` of changing length) cannot be prepared. Columns must hold what the driver takes as it is:
    integers, text, octets.
    """

    @overload
    def __init__(
        self: Prepared[tuple[Any, ...]], statement: Executable, *, sqlite: Executable | None = None
    ) -> None: ...
    @overload
    def __init__(self, statement: Executable, row: Callable[..., R], *, sqlite: Executable | None = None) -> None: ...
    def __init__(
        self, statement: Executable, row: Callable[..., Any] | None = None, *, sqlite: Executable | None = None
    ) -> None:
        self._statements = {"sqlite": sqlite if sqlite is not None else statement, "postgresql": statement}
        self._row: Callable[..., Any] = row or _as_tuple
        self._compiled: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def _ready(self, c: Connection) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
        try:
            return self._compiled[c.dialect.name]
        except KeyError:
            made = self._compiled[c.dialect.name] = _compile(self._statements[c.dialect.name], c)
            return made

    def _run(self, c: Connection, parameters: Mapping[str, Any]) -> DBAPICursor:
        sql, arrange = self._ready(c)
        cursor = _cursor(c)
        cursor.execute(sql, arrange(parameters))
        return cursor

    def count(self, c: Connection, parameters: Mapping[str, Any] = _NOTHING) -> int:
        """Run it, and return how many rows it inserted, updated or deleted."""
        cursor = self._run(c, parameters)
        changed = int(cursor.rowcount)
        _leave(c, cursor)
        return changed

    def find(self, c: Connection, parameters: Mapping[str, Any] = _NOTHING) -> R | None:
        """The first row, or None."""
        cursor = self._run(c, parameters)
        values = cursor.fetchone()
        _leave(c, cursor)
        return None if values is None else self._row(*values)

    def all(self, c: Connection, parameters: Mapping[str, Any] = _NOTHING) -> list[R]:
        cursor = self._run(c, parameters)
        rows = cursor.fetchall()
        _leave(c, cursor, len(rows))
        return list(starmap(self._row, rows))

    def each(self, c: Connection, parameters: Mapping[str, Any] = _NOTHING) -> Iterator[tuple[Any, ...]]:
        """Rows as the driver gives them, a few at a time: of a million of them no million objects are made at once.
        To be read to the end before the connection is used for anything else."""
        cursor = self._run(c, parameters)
        try:
            while rows := cursor.fetchmany(_FEW):
                yield from rows
        finally:
            _leave(c, cursor, _FEW + 1)

    def scalar(self, c: Connection, parameters: Mapping[str, Any] = _NOTHING) -> Any:  # noqa: ANN401
        """The first column of the first row, or None."""
        cursor = self._run(c, parameters)
        values = cursor.fetchone()
        _leave(c, cursor)
        return None if values is None else values[0]

    def added(self, c: Connection, parameters: Mapping[str, Any]) -> int:
        """The id of the row that it inserts. For what `adding` made."""
        if c.dialect.name != "sqlite":
            return int(self.scalar(c, parameters))
        cursor = self._run(c, parameters)
        _leave(c, cursor)
        return int(cursor.lastrowid)

    def many(self, c: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run it once for each of `rows`; for inserts and updates whose count does not matter."""
        sql, arrange = self._ready(c)
        cursor = _cursor(c)
        cursor.executemany(sql, [arrange(row) for row in rows])
        _leave(c, cursor)


def _cursor(c: Connection) -> DBAPICursor:
    """Of the driver itself: the pool's wrapper around it costs more than some statements. psycopg's is kept with its
    connection, because making one costs it more than running a statement."""
    kept = c.connection
    driver = kept.dbapi_connection
    assert driver is not None
    if c.dialect.name == "sqlite":
        return driver.cursor()
    found: DBAPICursor | None = kept.info.get(_CURSOR)
    if found is None:
        found = kept.info[_CURSOR] = driver.cursor()
    return found


def _leave(c: Connection, cursor: DBAPICursor, rows: int = 1) -> None:
    """SQLite would keep its view of the database until the statement is over. psycopg's cursor waits for the next, and
    holds what it has read until then: not where that is much."""
    if c.dialect.name == "sqlite":
        cursor.close()
    elif rows > _FEW:
        c.connection.info.pop(_CURSOR, None)
        cursor.close()


def _compile(statement: Executable, c: Connection) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    compiled = statement.compile(dialect=c.dialect)  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)
    constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    names = compiled.positiontup
    if names is None:
        return str(compiled), (lambda given: {**constants, **given}) if constants else dict
    if not names:
        return str(compiled), lambda _: ()
    pick = itemgetter(*names) if len(names) > 1 else lambda given: (given[names[0]],)
    return str(compiled), (lambda given: pick({**constants, **given})) if constants else pick


def inserting(table: Table, *left_out: str, ending: str = "") -> TextClause:
    """An insert whose parameters are the table's columns, but for those that the database fills in.

    `ending` is what may follow in both dialects: `ON CONFLICT … DO …`, `RETURNING …`.
    """
    names = [column.name for column in table.columns if column.name not in left_out]
    columns, values = ", ".join(f'"{name}"' for name in names), ", ".join(f":{name}" for name in names)
    return text(f'INSERT INTO "{table.name}" ({columns}) VALUES ({values}) {ending}')  # noqa: S608


def adding(table: Table, *left_out: str) -> Prepared[tuple[Any, ...]]:
    """`inserting` into a table that numbers its rows, for `Prepared.added`. On SQLite RETURNING would cost three times
    the insert itself, and the driver knows the id."""
    return Prepared(inserting(table, "id", *left_out, ending="RETURNING id"), sqlite=inserting(table, "id", *left_out))


def _as_tuple(*values: object) -> tuple[object, ...]:
    return values
