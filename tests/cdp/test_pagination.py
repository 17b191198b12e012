import pytest

from customers.models import Customer

pytestmark = pytest.mark.django_db


def pages(api, path):
    while path:
        status, answer = api.get(path)
        assert status == 200
        yield [row["id"] for row in answer["results"]]
        path = answer["next"]


@pytest.mark.parametrize(("count", "size"), [(0, 2), (1, 2), (2, 2), (5, 2), (6, 3)])
def test_pages_show_everybody_once(api, make_customer, count, size):
    expected = [make_customer().pk for _ in range(count)][::-1]
    found = list(pages(api, f"/api/customers/?page_size={size}"))
    assert [pk for page in found for pk in page] == expected
    assert all(len(page) == size for page in found[:-1])


def test_pages_can_be_turned_back(api, make_customer):
    newest_first = [make_customer().pk for _ in range(5)][::-1]
    first = api.get("/api/customers/?page_size=2")[1]
    second = api.get(first["next"])[1]
    third = api.get(second["next"])[1]
    back = api.get(third["previous"])[1]
    assert [row["id"] for row in back["results"]] == newest_first[2:4]
    again = api.get(back["previous"])[1]
    assert (again["results"], again["previous"]) == (first["results"], None)
    assert (first["previous"], third["next"]) == (None, None)


def test_new_rows_do_not_shift_pages(api, make_customer):
    old = [make_customer().pk for _ in range(3)]
    first = api.get("/api/customers/?page_size=2")[1]
    make_customer()
    assert [row["id"] for row in api.get(first["next"])[1]["results"]] == old[:1]


@pytest.mark.parametrize(
    "query",
    [
        *("page_size=0", "page_size=-1", "page_size=1001", "page_size=x", "page_size=²"),
        *("page_size=99999999999999999999", "cursor=x", "cursor=", "cursor=WyJhIl0:1v:x"),
    ],
)
def test_wrong_page_is_refused(api, query):
    status, answer = api.get(f"/api/customers/?{query}")
    assert status == 400
    assert answer["errors"][0]["attr"] == query.partition("=")[0]


def test_cursor_of_another_list_is_refused(api, make_customer, make_segment):
    make_customer(), make_customer()
    cursor = api.get("/api/customers/?page_size=1")[1]["next"].partition("cursor=")[2]
    assert api.get(f"/api/segments/?cursor={cursor}")[0] == 400


def test_page_costs_one_query_wherever_it_is(api, make_customer, django_assert_num_queries):
    Customer.objects.bulk_create(Customer() for _ in range(300))
    path = "/api/customers/?page_size=100"
    while path:
        answer = api.get(path)[1]
        path = answer["next"]
        if path:
            with django_assert_num_queries(3):  # the key, the customers, their identifiers
                api.get(path)
