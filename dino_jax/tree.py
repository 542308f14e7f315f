"""Rules over the names of a parameter tree.

One mechanism serves decay, freezing, sharding and weights: a sequence of (pattern, value) in which
the first pattern that occurs in a name decides. A name that no pattern covers is an error, so that
a new parameter can never be treated by accident.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

Value = TypeVar("Value")


def matching(rules: Sequence[tuple[str, Value]], names: Iterable[str]) -> dict[str, Value]:
    """Give every name the value of the first rule whose regular expression occurs in it.

    Raises:
        ValueError: names that no rule covers, all of them listed.
    """
    compiled = [(re.compile(pattern), value) for pattern, value in rules]
    found: dict[str, Value] = {}
    missing = []
    for name in names:
        for pattern, value in compiled:
            if pattern.search(name):
                found[name] = value
                break
        else:
            missing.append(name)
    if missing:
        raise ValueError(f"no rule covers {', '.join(missing)}")
    return found
