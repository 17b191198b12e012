"""Files that are uploaded in tests of imports, and what came of them."""

import io

from customers import imports
from customers.models import Customer, ImportProblem, ImportState

HEADER = "customerId,fieldName,fieldValue\n"


def upload(text, name="some.csv", **options):
    content = text if isinstance(text, bytes) else text.encode()
    return imports.create(io.BytesIO(content), name=name, options=options, created_by="Anna")


def checked(text, **options):
    run = upload(text, **options)
    imports.check(run.pk)
    run.refresh_from_db()
    return run


def applied(text, **options):
    run = upload(text, **options)
    imports.apply(run.pk)
    run.refresh_from_db()
    assert run.state == ImportState.DONE
    return run


def counts(run):
    return run.rows_ok, run.rows_failed, run.customers_created, run.customers_updated


def fields_of(customer_id):
    return Customer.objects.get(external_id=customer_id).fields


def exact(fields):
    return {name: str(value) for name, value in fields.items()}


def problems(run):
    return [(problem.line, problem.code) for problem in ImportProblem.objects.filter(source=run)]
