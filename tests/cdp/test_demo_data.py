import csv
import io
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from cdp.demo import people, purchases, visitors
from cdp.demo.catalogue import RECORDS

ZURICH = ZoneInfo("Europe/Zurich")
NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def bought():
    return purchases.read()


def test_every_purchase_of_the_data_is_read(bought):
    assert len(bought) == 69_659
    assert len({purchase.customer for purchase in bought}) == 23_570
    assert sum(purchase.price for purchase in bought) == Decimal("2500315.63")
    assert (min(p.day for p in bought), max(p.day for p in bought)) == (
        date(1997, 1, 1),
        purchases.LAST_DAY,
    )


def test_purchases_of_one_customer_on_one_day_are_kept_apart(bought):
    assert len({purchase.key for purchase in bought}) == len(bought)
    twice = Counter((p.customer, p.day, p.items, p.price) for p in bought)
    assert sum(count - 1 for count in twice.values()) > 200


def test_purchases_for_nothing_are_kept(bought):
    assert sum(purchase.price == 0 for purchase in bought) == 80


def test_first_customers_come_with_all_their_purchases(bought):
    some = purchases.read(customers=100)
    assert len({purchase.customer for purchase in some}) == 100
    assert some == bought[: len(some)]


def test_half_of_the_purchases_are_online(bought):
    online = sum(purchase.channel == purchases.ONLINE for purchase in bought)
    assert abs(online - len(bought) / 2) < 500


def test_last_day_of_the_data_becomes_today_and_all_distances_stay(bought):
    for purchase in bought[::97]:
        at = purchases.happened_at(purchase, NOW, ZURICH)
        assert NOW.astimezone(ZURICH).date() - at.date() == purchases.LAST_DAY - purchase.day


@pytest.mark.parametrize("hour", [0, 7, 9, 15, 23])
def test_no_purchase_lies_in_the_future(bought, hour):
    now = datetime(2026, 10, 25, hour, 5, tzinfo=ZURICH)  # a day of 25 hours
    today = [p for p in bought if p.day == purchases.LAST_DAY]
    times = [purchases.happened_at(purchase, now, ZURICH) for purchase in today]
    assert max(times) <= now
    assert {at.date() for at in times} == {now.date()}
    assert len(set(times)) > len(today) // 2


def test_earlier_purchases_fall_into_opening_hours(bought):
    hours = {purchases.happened_at(p, NOW, ZURICH).hour for p in bought[:5000]}
    assert hours == set(range(8, 20))


def test_file_of_purchases_says_the_same_every_time():
    def written():
        text = io.StringIO()
        some = purchases.read(customers=50)
        purchases.write(some, text, now=NOW, zone=ZURICH, currency="CHF")
        return text.getvalue()

    rows = list(csv.DictReader(io.StringIO(written())))
    assert written() == written()
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
    [first] = [row for row in rows if row["orderId"] == "00001-1"]
    assert (first["customerId"], first["revenue"], first["items"]) == ("CD-00001", "11.77", "1")


def test_no_two_made_up_people_share_an_address():
    everyone = [people.make_up(f"{number:05}") for number in range(23_570)]
    assert len({person.email for person in everyone}) == len(everyone)
    assert all(person.email.isascii() for person in everyone)
    assert all(person.email.endswith("@example.com") for person in everyone)
    assert all(person.phone.startswith("+4170") for person in everyone)
    assert {person.language for person in everyone} == {"de", "fr", "it", "rm"}


def test_made_up_person_is_the_same_every_time():
    assert people.make_up("00001") == people.make_up("00001")
    assert people.make_up("00001").firstName == "Kurt"


def test_visitors_browse_in_the_last_days_and_never_in_the_future():
    messages = visitors.browse(["CD-00001"], now=NOW, currency="CHF", visitors=300)
    times = [datetime.fromisoformat(message["timestamp"]) for message in messages]
    assert times == sorted(times)
    assert NOW - timedelta(days=36) < times[0] < times[-1] < NOW
    assert len({message["messageId"] for message in messages}) == len(messages)


def test_visitors_look_add_order_and_sign_in():
    messages = visitors.browse(["CD-00001"], now=NOW, currency="CHF", visitors=300)
    done = Counter(message.get("event", message["type"]) for message in messages)
    wanted = {"page", "Product Viewed", "Product Added", "Order Completed", "identify"}
    assert done.keys() == wanted
    assert {m["userId"][:3] for m in messages if m["type"] == "identify"} == {"CD-", "WEB"}


def test_known_customers_only_browse_so_that_their_purchases_stay_those_of_the_data():
    messages = visitors.browse(["CD-00001"], now=NOW, currency="CHF")
    known = {m["anonymousId"] for m in messages if m.get("userId") == "CD-00001"}
    orders = {m["anonymousId"] for m in messages if m.get("event") == "Order Completed"}
    assert known
    assert orders.isdisjoint(known)


def test_two_of_the_latest_visitors_become_big_spenders():
    messages = visitors.arrive(now=NOW, currency="CHF")
    assert max(m["timestamp"] for m in messages) <= NOW.isoformat()
    orders = [m["properties"] for m in messages if m.get("event") == "Order Completed"]
    assert [order["revenue"] for order in orders] == [348.0, 348.0]
    assert all(
        sum(product["price"] for product in order["products"]) == order["revenue"]
        for order in orders
    )


def test_requests_of_visitors_are_of_a_size_that_is_taken():
    messages = visitors.browse(["CD-00001"], now=NOW, currency="CHF")
    sizes = [len(json.dumps({"batch": batch})) for batch in visitors.in_batches(messages)]
    assert max(sizes) < 500_000


def test_every_record_has_an_address_of_its_own():
    assert len({record.sku for record in RECORDS}) == len(RECORDS)


def test_customers_whom_the_tour_names_are_as_it_says(bought):
    """docs/marketers.md sends people to these profiles."""
    counts = Counter(purchase.customer for purchase in bought)
    assert counts.most_common(1) == [("14048", 217)]
    days = [(purchases.LAST_DAY - p.day).days for p in bought if p.customer == "00004"]
    assert sum(day < 365 for day in days) >= 2
    assert min(days) > 90
    customer_ids = [f"CD-{customer}" for customer in sorted(counts)]
    messages = visitors.browse(customer_ids, now=NOW, currency="CHF")
    assert "CD-11044" in {message.get("userId") for message in messages}
