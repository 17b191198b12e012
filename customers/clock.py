"""The one clock: the database's, which all processes share."""

from datetime import datetime

from customers.sql import records


def now() -> datetime:
    """The instant of the call, even within a transaction."""
    return records.clock_timestamp()
