"""What undoing an import asks of all floors: to forget those whom it created."""

from activation.models import Attempt
from cdp import erasure
from customers.imports import undoing
from segments.models import Membership, SegmentKind


def forget_created(limit: int) -> int:
    """Forget up to so many customers whom an import created that is being undone.

    Those stay who have more than it gave them, whom somebody put into a segment by hand, and those
    about whom something was sent. Returns how many were looked at. Call it inside a transaction.
    """
    taken = undoing.take_created(limit)
    if taken is None:
        return 0
    by_hand = Membership.objects.filter(
        customer__in=taken.lone, segment__kind=SegmentKind.STATIC
    ).values_list("customer_id", flat=True)
    sent = Attempt.objects.filter(delivery__customer_id__in=taken.lone).values_list(
        "delivery__customer_id", flat=True
    )
    removed = {*taken.lone} - {*by_hand} - {*sent}
    if removed:
        erasure.forget(sorted(removed))
    undoing.note_removed(taken, removed)
    return max(1, len(taken.known_as))
