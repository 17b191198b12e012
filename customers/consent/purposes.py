"""What customers are asked to agree to: defined by staff, or found in decisions."""

from customers.consent import sql
from customers.models import Consent, ConsentPurpose


class HasDecisionsError(Exception):
    """Customers have decided about this purpose: their answers must stay readable."""


def delete(purpose: ConsentPurpose) -> None:
    """Remove a purpose that nobody has decided about. Raises `HasDecisionsError`."""
    if Consent.objects.filter(purpose=purpose.key).exists():
        raise HasDecisionsError(
            f"Customers have decided about “{purpose}”: what they said must be kept."
        )
    purpose.delete()


def counts() -> dict[str, tuple[int, int]]:
    """Return for each purpose how many customers agree and how many refused."""
    return {purpose: (agreed, refused) for purpose, agreed, refused in sql.count_by_purpose()}
