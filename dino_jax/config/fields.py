"""Every field by its dotted path: its type, reading it from text, and the round trip to JSON."""

import ast
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.config.original import ORIGINAL_FLAGS
from dino_jax.config.tree import Config, UserError


class Leaf(NamedTuple):
    """One field: `kind` is its type without `None`, `optional` whether `None` is accepted."""

    path: str
    kind: Any
    optional: bool
    default: Any


def leaves(node: Any = None, prefix: str = "") -> dict[str, Leaf]:
    """Give every field of the tree by dotted path, with the values of `node` as defaults."""
    node = Config() if node is None else node
    found: dict[str, Leaf] = {}
    for field in dataclasses.fields(node):
        path, value = prefix + field.name, getattr(node, field.name)
        if dataclasses.is_dataclass(field.type):
            found |= leaves(value, path + ".")
        else:
            kind, optional = without_none(field.type)
            found[path] = Leaf(path, kind, optional, value)
    return found


def get(config: Config, path: str) -> Any:
    """Give the value at a dotted path."""
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def set_value(config: Config, path: str, value: Any) -> None:
    """Set the value at a dotted path, in place."""
    *groups, name = path.split(".")
    setattr(get(config, ".".join(groups)) if groups else config, name, value)


def find(path: str) -> Leaf:
    """Give the field at a dotted path.

    Raises:
        UserError: no such field, with the nearest name; or a group of fields.
    """
    known = leaves()
    if path in known:
        return known[path]
    inside = [name for name in known if name.startswith(path + ".")]
    if inside:
        raise UserError(f"{path} is a group of fields: set one of {', '.join(inside)}")
    return _unknown(path, known)


def from_text(path: str, text: str) -> Any:
    """Read the value of the field at `path` as typed on the command line.

    Numbers, `true`/`false`, text, and tuples such as `0.25,1` or `(0.25, 1)`; `None` where the
    field is optional.

    Raises:
        UserError: an unknown field or a value of another type or arity.
    """
    return read(find(path), text, flag=f"--config.{path}")


def read(leaf: Leaf, text: str, *, flag: str) -> Any:
    """Read the value of any field, named `flag` to the user, as `from_text` does.

    Raises:
        UserError: a value of another type or arity.
    """
    if leaf.optional and text.lower() == "none":
        return None
    try:
        return coerce(leaf, _read(leaf.kind, text))
    except (ValueError, SyntaxError):
        raise UserError(f"{flag}={text}: expected {describe(leaf)}") from None


def coerce(leaf: Leaf, value: Any) -> Any:
    """Give `value` as the field's type: whole numbers become floats, lists become tuples.

    Raises:
        UserError: another type, another arity, or a number that is not finite.
    """
    if value is None and leaf.optional:
        return None
    if typing.get_origin(leaf.kind) is tuple:
        wanted = typing.get_args(leaf.kind)
        if isinstance(value, (tuple, list)) and (wanted[-1] is ... or len(wanted) == len(value)):
            return tuple(coerce(leaf._replace(kind=wanted[0], optional=False), v) for v in value)
    elif leaf.kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif isinstance(value, leaf.kind) and not (leaf.kind is int and isinstance(value, bool)):
        return value
    raise UserError(f"{leaf.path} is {value!r}: expected {describe(find(leaf.path))}")


def describe(leaf: Leaf) -> str:
    """Say in words what a field accepts."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if typing.get_origin(leaf.kind) is tuple:
        wanted = typing.get_args(leaf.kind)
        if wanted[0] is str:
            return "names with commas between them"
        number = "numbers" if wanted[-1] is ... else f"{len(wanted)} numbers"
        return f"{number} such as {','.join(str(v) for v in leaf.default)}"
    return words[leaf.kind] + (" or None" if leaf.optional else "")


def check_types(config: Any) -> None:
    """Check names and types of a tree made by a config file, and make floats of whole numbers.

    Raises:
        UserError: not a `Config`, an attribute that is no field, or a value of another type.
    """
    if not isinstance(config, Config):
        raise UserError(
            f"get_config() returned {type(config).__name__}: expected a dino_jax.config.Config"
        )
    _check_names(config, type(config), "")
    for path, leaf in leaves().items():
        set_value(config, path, coerce(leaf, get(config, path)))


def to_dict(config: Config) -> dict[str, Any]:
    """Give the tree as nested dictionaries that JSON can hold (tuples become lists)."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def from_dict(values: Mapping[str, Any]) -> Config:
    """Rebuild a tree from `to_dict`; fields that are missing (older files) take their defaults.

    Raises:
        UserError: an unknown field or a value of another type.
    """
    config = Config()
    for path, value in _flat(values, "").items():
        set_value(config, path, coerce(find(path), value))
    return config


def without_none(annotation: Any) -> tuple[Any, bool]:
    """A type without its `None`, and whether it had one."""
    if isinstance(annotation, types.UnionType):
        (kind,) = (a for a in typing.get_args(annotation) if a is not type(None))
        return kind, True
    return annotation, False


def _unknown(path: str, known: Sequence[str] | Mapping[str, Any]) -> typing.NoReturn:
    near = _nearest(path, known)
    hint = f"did you mean {near}?" if near else "docs/configuration.md lists all"
    raise UserError(f"there is no config field {path}: {hint}")


def _nearest(path: str, known: Sequence[str] | Mapping[str, Any]) -> str | None:
    """The field of the same name elsewhere, the original's flag, or the most similar name."""
    last = {other: other.rsplit(".", 1)[-1] for other in known}
    name = path.rsplit(".", 1)[-1]
    same = [other for other in known if last[other] == name]
    if same or ORIGINAL_FLAGS.get(name):
        return same[0] if same else ORIGINAL_FLAGS[name]
    near = difflib.get_close_matches(path, list(known), n=1, cutoff=0.6)
    if near:
        return near[0]
    similar = difflib.get_close_matches(name, list(last.values()), n=1, cutoff=0.6)
    return next((other for other in known if last[other] in similar), None)


def _read(kind: Any, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind is float:
        return float(text)
    if kind == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    value = ast.literal_eval(text)
    if typing.get_origin(kind) is tuple and not isinstance(value, (tuple, list)):
        return (value,)
    return value


def _check_names(node: Any, expected: Any, prefix: str) -> None:
    if not isinstance(node, expected):
        raise UserError(f"{prefix[:-1]} is {node!r}: expected a {expected.__name__}")
    fields = {field.name: field for field in dataclasses.fields(node)}
    for name in vars(node):
        if name not in fields:
            _unknown(prefix + name, leaves())
    for name, field in fields.items():
        if dataclasses.is_dataclass(field.type):
            _check_names(getattr(node, name), field.type, f"{prefix}{name}.")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
