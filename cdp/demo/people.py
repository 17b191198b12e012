"""Made-up Swiss people to go with the real purchases; the same ones on every machine."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple, TextIO

from cdp.demo.purchases import chance, customer_id

# Where a language is spoken, and what people are called there. Weights are parts of 100.
_WEIGHTS = {"de": 62, "fr": 25, "it": 10, "rm": 3}
_CITIES = {
    "de": "Zürich Bern Basel Luzern Winterthur St.Gallen Thun Chur Schaffhausen Zug Aarau Olten",
    "fr": "Genève Lausanne Fribourg Neuchâtel Sion Vevey Nyon Delémont Yverdon Montreux",
    "it": "Lugano Bellinzona Locarno Mendrisio Chiasso Ascona",
    "rm": "Scuol Disentis Samedan Zernez Ilanz",
}
_FIRST_NAMES = {
    "de": (
        "Anna Lea Nina Laura Sarah Julia Lena Selina Vera Ruth Ursula Heidi Regula Monika Barbara "
        "Sandra Corinne Nicole Daniela Franziska Lukas Jonas Simon Fabian Reto Beat Urs Hans Peter "
        "Thomas Daniel Stefan Marco Andreas Michael Patrick Roland Bruno Kurt Jürg"
    ),
    "fr": (
        "Camille Léa Chloé Manon Sophie Claire Élodie Aurélie Céline Nathalie Isabelle Valérie "
        "Véronique Martine Julie Luc Théo Nicolas Julien Olivier Alain Pierre Yves Laurent "
        "Christophe Sébastien Mathieu Antoine François Raphaël"
    ),
    "it": (
        "Giulia Sofia Chiara Elena Francesca Paola Silvia Lucia Nadia Alessia Luca Matteo Davide "
        "Andrea Giovanni Fabio Claudio Sergio Tiziano Aldo"
    ),
    "rm": "Flurina Ladina Seraina Madlaina Braida Gian Curdin Flurin Andri Duri",
}
_LAST_NAMES = {
    "de": (
        "Müller Meier Schmid Keller Weber Huber Schneider Steiner Fischer Gerber Brunner Baumann "
        "Frei Zimmermann Moser Widmer Wyss Graf Roth Suter Baumgartner Bachmann Bucher Kunz Hofer "
        "Berger Lüthi Christen Arnold Portmann Hofmann Lehmann Bühler Egli Stalder Zürcher Koller "
        "Kaufmann Marti Flückiger"
    ),
    "fr": (
        "Favre Rochat Martin Blanc Bonvin Jaquet Monnier Perret Girard Rey Dubois Chevalley Aubert "
        "Cuendet Pasche Michel Barras Gremaud Berset Vuilleumier Jeanneret Pittet Bovet Rossier "
        "Clerc"
    ),
    "it": (
        "Bernasconi Ferrari Bianchi Rossi Fontana Galli Crivelli Pedrazzini Cattaneo Lepori "
        "Guidotti Rezzonico Solari Bottinelli Poretti"
    ),
    "rm": "Caflisch Cathomas Cadonau Camenisch Tuor Derungs Caduff Deplazes",
}
_PLAIN = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "é": "e", "è": "e", "ë": "e", "ç": "c", "â": "a", "É": "e"}
)
_OLDEST, _BIRTHDAYS = date(1938, 1, 1), 68 * 365


class Person(NamedTuple):
    """What the fields of a customer are filled with. Names are those of the customer fields."""

    firstName: str  # noqa: N815 (as in a CRM)
    lastName: str  # noqa: N815
    email: str
    phone: str
    city: str
    language: str
    birthday: str
    newsletter: str


class FieldKind(NamedTuple):
    type: str
    label: str
    is_personal: bool


FIELDS = {
    "firstName": FieldKind("string", "First name", is_personal=True),
    "lastName": FieldKind("string", "Last name", is_personal=True),
    "email": FieldKind("string", "E-mail", is_personal=True),
    "phone": FieldKind("string", "Phone", is_personal=True),
    "city": FieldKind("string", "City", is_personal=False),
    "language": FieldKind("string", "Language", is_personal=False),
    "birthday": FieldKind("datetime", "Birthday", is_personal=True),
    "newsletter": FieldKind("boolean", "Newsletter", is_personal=False),
}


def make_up(key: str) -> Person:
    """Return the person that goes with a key: always the same one, no two with one e-mail.

    The address ends in example.com, which is reserved; the phone number begins with +41 70, which
    is assigned to nobody.
    """
    language = _language(chance(f"language {key}"))
    first = _pick(_FIRST_NAMES[language], f"first {key}")
    last = _pick(_LAST_NAMES[language], f"last {key}")
    born = _OLDEST + timedelta(days=int(chance(f"born {key}") * _BIRTHDAYS))
    return Person(
        firstName=first,
        lastName=last,
        email=f"{first}.{last}.{key}@example.com".lower().translate(_PLAIN),
        phone=f"+4170{int(chance(f'phone {key}') * 10**7):07}",
        city=_pick(_CITIES[language], f"city {key}").replace("St.Gallen", "St. Gallen"),
        language=language,
        birthday=born.isoformat(),
        newsletter="true" if chance(f"newsletter {key}") < 0.4 else "false",
    )


def _language(part: float) -> str:
    for language, weight in _WEIGHTS.items():
        part -= weight / 100
        if part < 0:
            return language
    return "de"


def _pick(words: str, key: str) -> str:
    choices = words.split()
    return choices[int(chance(key) * len(choices))]


def write(customers: Iterable[str], file: TextIO) -> None:
    """Write the people of these customers of the data as a CSV file, one line a value."""
    writer = csv.writer(file)
    writer.writerow(("customerId", "fieldName", "fieldValue"))
    for customer in customers:
        writer.writerows(_values(customer))


def _values(customer: str) -> Iterator[Sequence[str]]:
    for name, value in zip(Person._fields, make_up(customer), strict=True):
        yield customer_id(customer), name, value
