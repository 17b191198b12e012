"""The tables of this floor, by what they are about."""

from customers.models.consent import (
    AbstractDecision,
    Consent,
    ConsentChange,
    ConsentPurpose,
    Suppression,
    SuppressionRemoval,
)
from customers.models.duplicates import DuplicateKey, DuplicateSearch, PossibleDuplicate
from customers.models.erasure import Erasure, Tombstone
from customers.models.fields import ChosenColumns, CustomerField, Display, FieldType
from customers.models.imports import (
    Import,
    ImportGiven,
    ImportKind,
    ImportProblem,
    ImportSeen,
    ImportState,
    ImportTouched,
)
from customers.models.people import (
    NO_FIELDS,
    Change,
    Customer,
    CustomerQuerySet,
    FieldChange,
    Identifier,
    Merge,
    SearchEntry,
)
from customers.models.rules import IdentityRules

__all__ = [
    "NO_FIELDS",
    "AbstractDecision",
    "Change",
    "ChosenColumns",
    "Consent",
    "ConsentChange",
    "ConsentPurpose",
    "Customer",
    "CustomerField",
    "CustomerQuerySet",
    "Display",
    "DuplicateKey",
    "DuplicateSearch",
    "Erasure",
    "FieldChange",
    "FieldType",
    "Identifier",
    "IdentityRules",
    "Import",
    "ImportGiven",
    "ImportKind",
    "ImportProblem",
    "ImportSeen",
    "ImportState",
    "ImportTouched",
    "Merge",
    "PossibleDuplicate",
    "SearchEntry",
    "Suppression",
    "SuppressionRemoval",
    "Tombstone",
]
