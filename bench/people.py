"""Customers as a CRM knows them, for measuring pages: names, addresses, devices, a history."""

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from bench import ground
from customers import indexing, search
from customers.models import CustomerField
from segments import definitions, filling
from segments.models import Segment

FIELDS = {
    **dict.fromkeys(("firstName", "lastName", "email", "phone"), "string"),
    **dict.fromkeys(("city", "language", "gender", "tier"), "string"),
    **dict.fromkeys(("points", "balance"), "number"),
    **dict.fromkeys(("birthday", "customerSince"), "datetime"),
    **dict.fromkeys(("newsletter", "vip"), "boolean"),
}


def populate(customers: int, events: int) -> None:
    """Fill an empty database: customers, identifiers, provenance, events and three segments."""
    CustomerField.objects.bulk_create(CustomerField(name=n, type=t) for n, t in FIELDS.items())
    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.42)")
        cursor.execute(CUSTOMERS, {"customers": customers})
        cursor.execute(IDENTIFIERS)
        cursor.execute(HISTORY)
    search.rebuild()
    ground.make_events(customers, events)
    for key, rule in SEGMENTS.items():
        definitions.save(Segment(key=key, name=key.title(), rule=rule))
    definitions.save(Segment(key="by-hand", name="By hand", kind="static"))
    while filling.fill_next():
        pass
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def index(*names: str) -> None:
    """Give these fields their index."""
    CustomerField.objects.filter(name__in=names).update(is_indexed=True)
    indexing.follow()


def client() -> Client:
    """A browser of a superuser."""
    made = Client(headers={"host": "localhost"})
    made.force_login(User.objects.create_superuser("bench"))
    return made


SEGMENTS = {
    "bern": {"field": "city", "op": "is", "value": "Bern"},
    "spenders": {
        "event": "Order Completed",
        "measure": "sum",
        "property": "amount",
        "op": "at_least",
        "value": 200,
        "within": {"last": 90, "unit": "days"},
    },
    "rare": {
        "all": [
            {"field": "points", "op": "at_least", "value": 995},
            {"field": "vip", "op": "is", "value": True},
        ]
    },
}
CUSTOMERS = """
    INSERT INTO customers_customer (external_id, fields, first_seen_at, last_seen_at, created_at)
    SELECT CASE WHEN n %% 5 > 0 THEN 'CH-' || lpad(n::text, 7, '0') END,
           CASE WHEN n %% 5 = 0 THEN jsonb_build_object('language', language) ELSE
           jsonb_build_object(
               'firstName', first, 'lastName', last,
               'email', lower(first || '.' || last) || n || '@example.ch',
               'phone', '+4179' || lpad((n * 7919 %% 10000000)::text, 7, '0'),
               'city', (ARRAY['Basel', 'Bern', 'Genève', 'Lausanne', 'Lugano', 'Zürich', 'Chur'])
                           [1 + n %% 7],
               'language', language, 'gender', (ARRAY['f', 'm', 'x'])[1 + n %% 3],
               'tier', (ARRAY['none', 'none', 'silver', 'gold'])[1 + n %% 4],
               'points', n * 31 %% 1000, 'balance', (n * 17 %% 500000) / 100.0,
               'birthday', to_char(timestamp '1950-01-01' + n %% 20000 * interval '1 day',
                                   'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               'customerSince', to_char(timestamp '2015-01-01' + n %% 4000 * interval '1 day',
                                        'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               'newsletter', n %% 3 = 0, 'vip', n %% 211 = 0) END,
           now() - interval '400 days' * random(), now() - interval '90 days' * power(random(), 2),
           now() - interval '400 days' * (%(customers)s - n) / %(customers)s
    FROM (
        SELECT n, (ARRAY['de', 'fr', 'it', 'en'])[1 + n %% 4] AS language,
               (ARRAY['Anna', 'Luca', 'Mia', 'Noah', 'Emma', 'Leon', 'Lea', 'Zoé', 'Nina', 'Jan',
                      'Sofia', 'Tim', 'Laura', 'Nils', 'Sara', 'Fabio'])[1 + n * 7 %% 16] AS first,
               (ARRAY['Müller', 'Meier', 'Schmid', 'Keller', 'Weber', 'Huber', 'Schneider', 'Meyer',
                      'Steiner', 'Fischer', 'Gerber', 'Brunner', 'Baumann', 'Frei', 'Zimmermann',
                      'Moser', 'Widmer', 'Wyss', 'Graf', 'Roth', 'Baumgartner', 'Favre', 'Rochat'])
                   [1 + n * 11 %% 23] || CASE WHEN n %% 97 = 0 THEN '-Alt' ||
                   n ELSE '' END AS last
        FROM generate_series(1, %(customers)s::bigint) n
    ) AS generated
"""
IDENTIFIERS = """
    INSERT INTO customers_identifier (kind, value, customer_id)
    SELECT 'customer_id', external_id, id FROM customers_customer WHERE external_id IS NOT NULL
    UNION ALL SELECT 'email', fields ->> 'email', id FROM customers_customer WHERE fields ? 'email'
    UNION ALL SELECT 'anonymous_id', md5(id::text), id FROM customers_customer;
"""
HISTORY = """
    INSERT INTO customers_fieldchange (customer_id, source, changes, at)
    SELECT id, 'import "crm.csv"', (
        SELECT jsonb_object_agg(key, jsonb_build_array(NULL, value)) FROM jsonb_each(fields)
    ), created_at
    FROM customers_customer WHERE id % 4 = 0
"""
