"""A query is as strict as a body: a parameter that an endpoint does not know, or that stands there
twice, is refused by its name.
"""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import wraps
from typing import Any

from django.http import HttpRequest, QueryDict
from ninja import NinjaAPI
from ninja.operation import Operation

from values.refused import invalid
from values.strict_json import escaped

NAME_MAX_CHARS = 40  # of one that may have been meant for another


def refuse_unknown_parameters(api: NinjaAPI) -> None:
    """Each operation takes the parameters of its description, each of them once."""
    for router in api._get_bound_routers():
        for view in router.path_operations.values():
            for operation in view.operations:
                operation.view_func = _strict(operation.view_func, parameters_of(operation))


def query_of(request: HttpRequest) -> QueryDict:
    """In UTF-8, whatever the charset of the body is: Django would read the address in that too."""
    request.encoding = "utf-8"
    return request.GET


def parameters_of(operation: Operation) -> list[str]:
    """The names of the query parameters that its signature has."""
    models = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    return [name for model in models for name in getattr(model, "__ninja_flatten_map__", {})]


def _strict(view: Callable[..., Any], taken: list[str]) -> Callable[..., Any]:
    @wraps(view)
    def checked(request: HttpRequest, **values: Any) -> Any:
        if wrong := list(_objections(query_of(request), taken)):
            raise invalid(*wrong)
        return view(request, **values)

    return checked


def _objections(query: QueryDict, taken: list[str]) -> Iterator[tuple[str, str]]:
    for name, values in query.lists():
        if name not in taken:
            yield f"/query/{escaped(name)}", _unknown(name, taken)
        elif len(values) > 1:
            yield f"/query/{name}", "stands there twice"


def _unknown(name: str, taken: list[str]) -> str:
    if not taken:
        return "is no parameter of this endpoint; it takes none"
    near = get_close_matches(name.lower(), taken, n=1) if len(name) <= NAME_MAX_CHARS else []
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(taken)}"
    return f"is no parameter of this endpoint; {hint}"
