"""The one clock: the database's, which all processes share."""

from datetime import datetime

from customers import sql


def now() -> datetime:
    """The instant of the call, even within a transaction."""
    return sql.clock_timestamp()
