"""The audit log as JSON lines, with what proves each record's place.

The first line is {"checkpoint": …} with the last signed checkpoint, or null. Every other line is a record: id, at,
body (the very text that was authenticated), mac, and for a record that the checkpoint covers, index, leaf (its hash:
SHA-256 of 0x00 ‖ id in 8 octets ‖ mac ‖ body) and path, RFC 6962's audit path to the checkpoint's root.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import select

from pkiconf.errors import Conflict
from pkiconf.store.audit import AuditEventRow, leaf_content
from pkiconf.store.checkpoints import find_last_checkpoint
from pkiconf.store.database import Connection, Database
from pkiconf.store.merkle import Tree, leaf_hash
from pkiconf.store.tables import audit_event, audit_leaf
from pkiconf.store.whole import lift_time_limits, stream


def export(db: Database, write: Callable[[str], object], after: int = 0) -> int:
    """Give `write` a line at a time, of records with ids above `after`; returns how many records.

    Raises Conflict when the tree in the database is not the one that its last checkpoint signed.
    """
    return db.read(lambda c: _export(c, write, after))


def _export(c: Connection, write: Callable[[str], object], after: int) -> int:
    lift_time_limits(c)
    checkpoint = find_last_checkpoint(c)
    size = checkpoint.size if checkpoint else 0
    tree = _tree(c, size)
    if checkpoint and tree.root(size) != checkpoint.root_hash:
        raise Conflict("the audit log is not what its last checkpoint signed", "Run `pkiconf audit verify`")
    write(_line({"checkpoint": checkpoint.to_json() if checkpoint else None}))
    count = 0
    for event in _events(c, after):
        write(_line(_record(event, tree, size)))
        count += 1
    return count


def _tree(c: Connection, size: int) -> Tree:
    tree = Tree()
    leaf = audit_leaf.c
    for index, hash in stream(c, select(leaf.index, leaf.leaf_hash).where(leaf.index < size).order_by(leaf.index)):
        tree.skip(index - tree.size)
        tree.append(hash)
    if tree.size != size:
        raise Conflict(f"of the {size} sealed audit records some are missing", "Run `pkiconf audit verify`")
    return tree


def _record(event: AuditEventRow, tree: Tree, size: int) -> dict[str, Any]:
    record: dict[str, Any] = {"id": event.id, "at": event.at, "body": event.body, "mac": event.mac.hex()}
    if event.index is not None and event.index < size:
        record["index"] = event.index
        record["leaf"] = leaf_hash(leaf_content(event)).hex()
        record["path"] = [hash.hex() for hash in tree.inclusion_path(event.index, size)]
    return record


def _events(c: Connection, after: int) -> Iterator[AuditEventRow]:
    event = audit_event.c
    query = (
        select(event.id, event.at, event.body, event.mac, audit_leaf.c.index)
        .select_from(audit_event.outerjoin(audit_leaf, audit_leaf.c.event_id == event.id))
        .where(event.id > after)
        .order_by(event.id)
    )
    for id, at, body, mac, index in stream(c, query):
        yield AuditEventRow(id, at, body, mac, index)


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n"
