"""Does an object look like a Protocol of the contract? mypy asks at the author's desk; this asks once, at loading."""

from __future__ import annotations

import inspect


def shape_problem(thing: object, protocol: type) -> str | None:
    """The first way in which `thing` cannot be called as `protocol` says; None: it fits."""
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        if not hasattr(thing, name):
            return f"has no {name!r}"
        if inspect.isfunction(member) and (problem := _call_problem(getattr(thing, name), member)):
            return f"{name}{problem}"
    return None


def _call_problem(method: object, specified: object) -> str | None:
    if not callable(method):
        return " is no method"
    wanted = inspect.signature(specified)  # type: ignore[arg-type]  # a function of the Protocol
    parameters = list(wanted.parameters.values())[1:]  # without self
    by_place = [None for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    by_name = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    try:
        inspect.signature(method).bind(*by_place, **by_name)
    except TypeError as error:
        return f"() cannot be called as the contract says: {error}"
    except ValueError:  # a method written in C tells nothing of its parameters
        return None
    if inspect.iscoroutinefunction(method) and not inspect.iscoroutinefunction(specified):
        return "() is async; the contract's is not"
    return None
