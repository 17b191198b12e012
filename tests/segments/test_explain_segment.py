import pytest
from django.core.management import CommandError, call_command

pytestmark = pytest.mark.django_db


def test_the_sql_and_its_plan_are_shown(make_segment, capsys):
    make_segment({"event": "Order Completed"}, key="buyers")
    call_command("explain_segment", "buyers", "--analyze")
    shown = capsys.readouterr().out
    assert "FROM customers_customer c" in shown
    assert "Execution Time" in shown


def test_an_unknown_segment_is_answered_with_those_there_are(make_segment):
    make_segment({"event": "Order Completed"}, key="buyers")
    with pytest.raises(CommandError, match="buyers"):
        call_command("explain_segment", "buyer")
