"""What an export of ours says of its network and where it is from: read and checked in one place.

It lies in the metadata of a safetensors file, in a full checkpoint, in the card's `config.json`
and beside a checkpoint; whoever passed the file on may have changed any of it.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dino_jax.config import HeadConfig, ModelConfig, UserError, from_dict

OURS = "dino_jax"
"""The key under which all that lies, wherever it does."""
SIZES = f"{OURS}.sizes"
"""The key of the metadata of a file of another library's under which lies, as JSON, what it keeps
in its `config.json` alone, and no tensor says: the number of heads, and the image size."""
NORMALISATION = "normalisation"
"""The fact that holds mean and standard deviation of weights that no run of ours made."""
_WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""Raised of values of other types, numbers too large or lists too deep; UserError is among them."""


class Known(NamedTuple):
    """What is known of the networks of a file besides their tensors."""

    model: ModelConfig | None = None
    head: HeadConfig | None = None
    size: tuple[int, int] | None = None
    epoch: int | None = None
    facts: Mapping[str, Any] = {}


def known_of(told: Any, *, source: str) -> Known:
    """What `described` and the facts beside it say.

    Facts of another type than we write are left out, and that is logged: no output hangs on them.

    Raises:
        UserError: a network or an image size that is not as we write it.
    """
    try:
        head = told.get("head")
        return Known(
            model=from_dict({"model": told["model"]}).model,
            head=None if head is None else from_dict({"head": head}).head,
            size=pair(told["size"], name="size", source=source),
            epoch=whole(told.get("epoch")),
            facts=facts_of(told.get("facts"), source=source),
        )
    except _WRONG as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"{source}: its entry {OURS} is not as we write it ({reason[:200]})"
        ) from error


def sizes_of(metadata: Mapping[str, str], *, source: str) -> tuple[int | None, Any]:
    """Heads and image size that an export of ours says under `SIZES`, None where it does not.

    Raises:
        UserError: they are not as we write them.
    """
    if SIZES not in metadata:
        return None, None
    try:
        told = json.loads(metadata[SIZES])
        size = pair(told["size"], name="size", source=source)
        return whole(told["heads"]) or None, size
    except _WRONG as error:
        raise UserError(f"{source}: its metadata {SIZES} are not as we write them") from error


def facts_of(facts: Any, *, source: str) -> dict[str, Any]:
    """The facts of the types that we write; the others are logged."""
    if facts is None:
        return {}
    if not isinstance(facts, Mapping):
        facts = {"facts": facts}
    kept = {name: value for name, value in facts.items() if name in _FACTS and _is(name, value)}
    left = [ascii(name)[:40] for name in facts if name not in kept]
    if left:
        logging.getLogger("dino_jax").warning(
            "%s: facts that are not as we write them are left out: %s", source, ", ".join(left[:4])
        )
    return kept


def normalisation_of(mean: Any, std: Any) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of each channel, None where they are no such numbers."""
    for numbers in (mean, std):
        if not isinstance(numbers, list | tuple) or not all(map(_is_number, numbers)):
            return None
    if not mean or len(mean) != len(std) or min(std) <= 0:
        return None
    return [float(x) for x in mean], [float(x) for x in std]


def whole(value: Any) -> int | None:
    """A count from 0 to below 2^31, None for anything else."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
    return value if good else None


def pair(value: Any, *, name: str, source: object) -> tuple[int, int]:
    """A height and width that a configuration gives as one number or as two.

    Raises:
        UserError: it gives something else.
    """
    two = [value, value] if isinstance(value, int) else value
    if (
        not isinstance(two, list | tuple)
        or len(two) != 2
        or not all(isinstance(side, int) and side > 0 for side in two)
    ):
        said = repr(value)[:80]
        raise UserError(f"{source}: {name} is {said}, expected one or two positive numbers")
    return two[0], two[1]


def printable(value: Any) -> Any:
    """The same with every text encodable: of a path in no encoding, the bytes are escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {printable(name): printable(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(printable(held) for held in value)
    return value


def _is(name: str, value: Any) -> bool:
    try:
        return _FACTS[name](value)
    except _WRONG:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_config(value: Any) -> bool:
    return isinstance(value, Mapping) and from_dict(value) is not None


def _is_plain(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return all(held is None or isinstance(held, str | int | float) for held in values)


def _is_arguments(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _is_plain(held) for name, held in value.items()
    )


_FACTS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("source", "network", "address", "data", "features"), _is_text),
    **dict.fromkeys(("steps", "images"), lambda value: whole(value) is not None),
    "scores": lambda value: (
        isinstance(value, Mapping)
        and all(_is_text(name) and _is_number(score) for name, score in value.items())
    ),
    "config": _is_config,
    "arguments": _is_arguments,
    NORMALISATION: lambda value: normalisation_of(*value) is not None,
}
"""The facts that there are, and what each has to be."""
