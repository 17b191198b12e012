"""What the demo's shop sells. Artists and records are made up."""

from decimal import Decimal
from typing import NamedTuple


class Record(NamedTuple):
    """`hues` are the two colours of the sleeve, in degrees around the colour circle."""

    sku: str
    title: str
    artist: str
    genre: str
    price: Decimal
    hues: tuple[int, int]


RECORDS = [
    Record(
        "BOX-01", "The Complete Sessions (8 CDs)", "Nightboat", "Jazz", Decimal("219.00"), (8, 48)
    ),
    Record(
        "BOX-02", "Eleven Winters (4 CDs)", "Margrit Ahorn", "Folk", Decimal("129.00"), (200, 250)
    ),
    Record("CD-101", "Paper Lanterns", "The Slow Trams", "Pop", Decimal("19.90"), (330, 20)),
    Record("CD-102", "Gotthard Blues", "Uncle Föhn", "Blues", Decimal("21.50"), (220, 190)),
    Record(
        "CD-103", "Etudes for Two Pianos", "Duo Lindenhof", "Classical", Decimal("24.90"), (40, 60)
    ),
    Record("CD-104", "Concrete Meadow", "Velopark", "Electronic", Decimal("18.90"), (150, 280)),
    Record("CD-105", "Songs from the Ferry", "Livia Sera", "Folk", Decimal("22.00"), (170, 210)),
    Record("CD-106", "Midnight in Olten", "The Connections", "Rock", Decimal("17.50"), (350, 300)),
    Record("LP-201", "Low Sun", "Nightboat", "Jazz", Decimal("34.90"), (30, 340)),
    Record("LP-202", "Radio Seealpsee", "Velopark", "Electronic", Decimal("39.00"), (260, 320)),
    Record(
        "LP-203", "First Snow, Last Train", "The Slow Trams", "Pop", Decimal("36.50"), (195, 230)
    ),
    Record("LP-204", "Harvest Hymns", "Margrit Ahorn", "Folk", Decimal("41.00"), (90, 50)),
]
RECORD_OF = {record.sku: record for record in RECORDS}
