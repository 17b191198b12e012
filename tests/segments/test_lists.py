import gzip

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from segments import definitions
from segments.models import Membership, Segment

pytestmark = pytest.mark.django_db

FILE = b"name;Customer ID\nAnn;C-1\nBob;C-2\n;\nX;C-9\nAnn;C-1\nY;\nZ;C-3;more\n"


@pytest.fixture
def vips(make_customer):
    for name in ("C-1", "C-2", "C-3"):
        make_customer(name)
    segment = Segment(key="vips", name="VIPs", kind="static")
    definitions.save(segment)
    return segment


def send(api, content, name="vips.csv"):
    file = SimpleUploadedFile(name, content)
    answer = APIClient().post(
        "/api/segments/vips/members/file/", {"file": file}, headers=api.headers
    )
    return answer.status_code, answer.json()


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_every_line_of_a_file_is_used_or_says_why_not(api, vips, packed):
    status, answer = send(api, packed(FILE))
    assert status == 200, answer
    assert (answer["changed"], answer["lines"]) == (2, 5)
    assert [(p["line"], p["code"]) for p in answer["problems"]] == [
        (5, "unknown_customer"),
        (6, "repeated"),
        (7, "no_customer_id"),
        (8, "long_row"),
    ]
    assert answer["problems"][0]["row"] == ["X", "C-9"]
    assert Membership.objects.filter(segment=vips, cause="manual").count() == 2
    assert send(api, FILE)[1]["changed"] == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"C-1\nC-2\n", "customerId"), (b"", "empty"), (b"\x89PNG\r\n\x1a\n\0\0", "")],
)
def test_a_file_that_is_no_list_is_refused(api, vips, content, said):
    status, answer = send(api, content)
    assert status == 400
    assert answer["errors"][0]["attr"] == "file"
    assert said in answer["errors"][0]["detail"]


def test_only_a_segment_kept_by_hand_takes_a_file(api, vips, make_segment):
    make_segment({"event": "Order Completed"}, key="buyers")
    file = SimpleUploadedFile("x.csv", FILE)
    answer = APIClient().post(
        "/api/segments/buyers/members/file/", {"file": file}, headers=api.headers
    )
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "not_by_hand")
