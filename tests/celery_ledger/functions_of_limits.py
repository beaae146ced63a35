"""Functions of Django's for `test_limits`."""

from django.tasks import task


def greet(name: str) -> str:
    return f"Hello, {name}"


@task(concurrency="greet {name}=1")  # type: ignore[call-overload, untyped-decorator]
def limited(name: str) -> str:
    return f"Hello, {name}"
