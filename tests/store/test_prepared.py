"""Statements compiled once, and rows that have the tables' columns."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sqlalchemy import Table, bindparam, insert, literal, select, text

from pkiconf.steps import Step
from pkiconf.store import (
    applied,
    approvals,
    authorities,
    certificates,
    crls,
    issuers,
    jobs,
    keys,
    leases,
    requests,
    service_certificates,
    settings,
    slugs,
    tables,
    templates,
)
from pkiconf.store.database import Connection, Database
from pkiconf.store.prepared import Prepared, inserting
from pkiconf.store.tables import lease


@pytest.mark.parametrize(
    ("row", "table"),
    [
        (applied.AppliedRow, tables.applied),
        (approvals.ApprovalRow, tables.approval),
        (authorities.AuthorityRow, tables.authority),
        (certificates.CertificateRow, tables.certificate),
        (crls.CRLRow, tables.crl),
        (issuers.IssuerRow, tables.issuer),
        (issuers.CACertificateRow, tables.ca_certificate),
        (jobs.JobRow, tables.job),
        (keys.KeyRow, tables.key),
        (keys.SealedSecretRow, tables.sealed_secret),
        (leases.LeaseRow, tables.lease),
        (requests.RequestRow, tables.request),
        (service_certificates.ServiceCertificateRow, tables.service_certificate),
        (settings.SettingRow, tables.setting),
        (slugs.SlugRow, tables.slug),
        (templates.TemplateRow, tables.template),
        (templates.TemplateVersionRow, tables.template_version),
    ],
)
def test_row_has_the_columns_of_its_table_in_their_order(row: Any, table: Table) -> None:
    names = row._fields if issubclass(row, tuple) else [field.name for field in dataclasses.fields(row)]
    assert list(names) == [column.name for column in table.columns]


def test_every_way_to_run_one(database: Database) -> None:
    add = Prepared(inserting(lease))
    listed = Prepared(select(lease).order_by(lease.c.name), leases.LeaseRow)
    named = Prepared(select(lease.c.holder, lease.c.fencing).where(lease.c.name == bindparam("wanted")))
    until = Prepared(text("UPDATE lease SET until_at = :at WHERE fencing > :than"))

    def write(c: Connection) -> tuple[int, int]:
        add.many(c, [{"name": str(n), "holder": "h", "fencing": n, "until_at": 0} for n in range(5)])
        return until.count(c, {"at": 7, "than": 2}), until.count(c, {"at": 7, "than": 20})

    assert database.write(Step.APPLY_LEASE, write) == (2, 0)
    rows = database.read(listed.all)
    assert [(row.name, row.until_at) for row in rows] == [("0", 0), ("1", 0), ("2", 0), ("3", 7), ("4", 7)]
    assert database.read(lambda c: named.find(c, {"wanted": "3"})) == ("h", 3)
    assert database.read(lambda c: named.find(c, {"wanted": "9"})) is None
    assert database.read(lambda c: named.scalar(c, {"wanted": "3"})) == "h"
    assert database.read(lambda c: named.scalar(c, {"wanted": "9"})) is None


def test_the_id_of_an_added_row_is_told_on_both(database: Database) -> None:
    added = insert(tables.applied).values(at=bindparam("at"), workspace="w", actor="a", plan_digest="d", recap="{}")
    add = Prepared(added.returning(tables.applied.c.id), sqlite=added)
    first, second = (database.write(Step.APPLY_RECORD, lambda c, at=at: add.added(c, {"at": at})) for at in (7, 8))  # type: ignore[misc]
    found = Prepared(select(tables.applied.c.at).where(tables.applied.c.id == bindparam("wanted")))
    assert [database.read(lambda c, id=id: found.scalar(c, {"wanted": id})) for id in (first, second)] == [7, 8]  # type: ignore[misc]


def test_constants_in_a_statement_need_no_parameter(database: Database) -> None:
    constant = Prepared(select(literal(3), literal("x%y")))
    mixed = Prepared(select(literal(3) + bindparam("more", type_=lease.c.fencing.type)))
    assert database.read(constant.find) == (3, "x%y")
    assert database.read(lambda c: mixed.scalar(c, {"more": 4})) == 7


def test_same_statement_serves_both_dialects(sqlite_database: Database, postgres_database: Database) -> None:
    find = Prepared(select(lease).where(lease.c.name == bindparam("wanted")), leases.LeaseRow)
    for db in (sqlite_database, postgres_database, sqlite_database):
        assert db.read(lambda c: find.find(c, {"wanted": "a"})) is None


def test_missing_parameter_is_an_error(database: Database) -> None:
    find = Prepared(select(lease).where(lease.c.name == bindparam("wanted")))
    with pytest.raises(Exception, match="wanted"):
        database.read(find.all)
