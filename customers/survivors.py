"""Who a customer is now, after merges."""

from collections.abc import Callable, Collection, Sequence

from customers.sql import records


def lock(customer_ids: Collection[int]) -> dict[int, int]:
    """Lock customers and those they were merged into; return who each of them is now.

    Merges are followed to their end; customers that are gone are left out. Call it inside a
    transaction. Locks are taken in order of id, against other writers.
    """
    return _followed(customer_ids, records.lock_customers)


def hold(customer_ids: Collection[int]) -> dict[int, int]:
    """As `lock`, but only against merges, separations and erasures, so that nobody becomes
    somebody else: who writes what these customers do and have goes on meanwhile.
    """
    return _followed(customer_ids, records.hold_customers)


def _followed(
    customer_ids: Collection[int], take: Callable[[Sequence[int]], list[tuple[int, int | None]]]
) -> dict[int, int]:
    wanted = set(customer_ids)
    while True:
        merged_into = dict(take(sorted(wanted)))
        further = {new for new in merged_into.values() if new is not None} - wanted
        if not further:
            return {old: _survivor(old, merged_into) for old in merged_into}
        wanted |= further


def _survivor(customer_id: int, merged_into: dict[int, int | None]) -> int:
    while (following := merged_into.get(customer_id)) is not None:
        customer_id = following
    return customer_id
