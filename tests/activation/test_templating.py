import pytest

from activation import templating
from activation.templating import TemplateError

CONTEXT = {"customer": {"email": None, "fields": {"a": "x" * 1_000}}, "nothing": None}
GROWING = "{{ customer.fields.a" + " | replace: 'x', 'xxxxxxxxxx'" * 12 + " }}"
SLOW = (
    "{% assign s = customer.fields.a %}{% for i in (1..20000) %}{% assign y = s | append: s "
    "| append: s | append: s | replace: 'x', 'yy' | split: 'y' | reverse | join: 'z' | size %}"
    "{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("[{{ nobody.at.home }}]", "[]"),
        ("{{ customer.email | upcase | append: '!' }}", "!"),
        ("{{ nothing | date: '%Y' }}{{ nothing | join: ',' }}{{ nothing | sort }}", ""),
        ("{{ nothing | json }} {{ nothing | default: 'a' }} {{ nothing | plus: 1 }}", "null a 1"),
        ("{% if nothing > 1 %}1{% else %}0{% endif %}", "0"),
    ],
)
def test_what_is_missing_is_nothing(template, text):
    templating.check(template)
    assert templating.fill(template, CONTEXT) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for i in (1..100000000) %}x{% endfor %}", "loops go round over 20,000 times"),
        ("{% for i in (1..9999) %}{{ customer.fields.a }}{% endfor %}", "more than 512 KB"),
        (GROWING, "replace: that would be too much"),
        ("{{ (1..999999999) | join: ',' }}", "too much"),
        (
            "{% assign n = 9 %}{% for i in (1..99) %}{% assign n = n | times: n %}{% endfor %}",
            "times",
        ),
        ("{{ 'now' | date: '%9999999Y' }}", "date: that would be too much"),
        ("{{ 5 | divided_by: 0 }}", "divide by 0"),
        (SLOW, "longer than 2 seconds"),
    ],
)
def test_template_that_would_take_too_much_is_stopped_and_says_why(template, words):
    templating.check(template)
    with pytest.raises(TemplateError, match=words):
        templating.fill(template, CONTEXT)


def test_filter_that_does_not_exist_is_told_before_it_is_stored():
    with pytest.raises(TemplateError, match=r"'upcas' \(line 2\)\. Did you mean \"upcase\""):
        templating.check("Hello\n{{ customer.email | upcas }}")


@pytest.mark.parametrize(
    "template", ["a\n{% if %}", "a\n{{ x | }}\nb", "a\n{% foo %}", "{{ x }}\n{{ a. }}", "\n{{ x"]
)
def test_fault_is_told_with_its_line(template):
    with pytest.raises(TemplateError, match=r"\(line 2\)\.$"):
        templating.check(template)


def test_ids_and_instants_can_be_written_as_other_tools_want_them():
    context = {"id": "01a20411-3b9e-7c40-8d5f-0c2b5f6f1a77", "timestamp": "2026-11-22T15:04:05.5Z"}
    text = templating.fill("{{ id | ulid }} {{ timestamp | unix }}", context)
    assert text == "01M8212EWYFH08TQRC5DFPY6KQ 1795359845"
