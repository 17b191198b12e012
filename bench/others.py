"""The same segments by hand in DuckDB and chDB, which one would otherwise ask such questions."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from bench.typical import BY_HAND

NO_ORDER = """
    SELECT count(*) FROM customers_customer WHERE id NOT IN (
        SELECT customer_id FROM events_event WHERE name_id = 4
          AND occurred_at > %(now)s - interval '90 days' AND occurred_at <= %(now)s)"""


def engines(directory: Path) -> dict[str, Callable[[str, datetime], int]]:
    """Load each engine that is installed with what is in the database; how to ask it by name."""
    files = _export(directory)
    made = {}
    for name, load in (("DuckDB", _duckdb), ("chDB", _chdb)):
        try:
            made[name] = load(directory, files)
        except ImportError:
            print(f"<!-- {name} is not installed: uv pip install --group bench -->")
    return made


def _export(directory: Path) -> dict[str, Path]:
    from django.db import connection

    queries = {
        "customers_customer": "SELECT id, fields ->> 'city' AS city FROM customers_customer"
        " WHERE merged_into_id IS NULL",
        "events_event": "SELECT customer_id, name_id, source_id,"
        " coalesce(currency, '') AS currency,"
        " to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS occurred_at,"
        " coalesce(amount, 0) AS amount, properties ->> 'category' AS category FROM events_event",
    }
    files = {}
    for table, query in queries.items():
        files[table] = directory / f"{table}.csv"
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)") as copy,
            files[table].open("wb") as file,
        ):
            for block in copy:
                file.write(block)
    return files


def _text(name: str) -> str:
    text = NO_ORDER if name.startswith("no order") else BY_HAND[name]
    for stored, column in (
        ("properties ->> 'category'", "category"),
        ("fields ->> 'city'", "city"),
    ):
        text = text.replace(stored, column)
    return text.replace("merged_into_id IS NULL AND ", "")


def _duckdb(directory: Path, files: dict[str, Path]) -> Callable[[str, datetime], int]:
    import duckdb

    database = duckdb.connect(str(directory / "duck.db"))
    types = {"amount": "DECIMAL(18,4)", "occurred_at": "TIMESTAMP"}
    for table, file in files.items():
        typed = types if table == "events_event" else {}
        database.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM read_csv('{file}', types={typed})"
        )

    def ask(name: str, now: datetime) -> int:
        text = _text(name).replace("%(now)s", f"TIMESTAMP '{now:%F %T.%f}'")
        return int(database.execute(text).fetchone()[0])

    return ask


def _chdb(directory: Path, files: dict[str, Path]) -> Callable[[str, datetime], int]:
    from chdb.session import Session

    session = Session(str(directory / "chdb"))
    session.query("CREATE DATABASE IF NOT EXISTS bench")
    shapes = {
        "customers_customer": ("id UInt64, city String", "id"),
        "events_event": (
            "customer_id UInt64, name_id UInt32, source_id UInt32, currency LowCardinality(String),"
            " occurred_at DateTime64(6, 'UTC'), amount Decimal(18, 4),"
            " category LowCardinality(String)",
            "name_id, customer_id, occurred_at",
        ),
    }
    for table, (columns, order) in shapes.items():
        session.query(f"DROP TABLE IF EXISTS bench.{table}")
        session.query(f"CREATE TABLE bench.{table} ({columns}) ENGINE MergeTree ORDER BY ({order})")
        session.query(
            f"INSERT INTO bench.{table} SELECT * FROM file('{files[table]}', 'CSVWithNames')"
        )

    def ask(name: str, now: datetime) -> int:
        text = re.sub(r"interval '(\d+) days'", r"INTERVAL \1 DAY", _text(name))
        text = text.replace("%(now)s", f"toDateTime64('{now:%F %T.%f}', 6, 'UTC')")
        text = re.sub(r"(customers_customer|events_event)", r"bench.\1", text)
        text = text.replace("lower(", "lowerUTF8(")
        return int(str(session.query(text, "CSV")).strip().strip('"'))

    return ask
