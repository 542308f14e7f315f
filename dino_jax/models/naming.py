"""Flat parameter names at the boundary, nested Flax collections inside."""

from collections.abc import Mapping
from typing import Any

from flax import traverse_util

BACKBONE = "backbone."
HEAD = "head."
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""How the names of batch statistics end; those of parameters never do."""


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Turn nested modules into one dict keyed by the dotted path of each leaf."""
    return traverse_util.flatten_dict(dict(tree), sep=".")


def unflatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names back into nested modules; the inverse of `flatten`."""
    return traverse_util.unflatten_dict(dict(params), sep=".")


def under(prefix: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves whose name begins with `prefix`, with the prefix removed."""
    return {
        name.removeprefix(prefix): leaf for name, leaf in params.items() if name.startswith(prefix)
    }


def prefixed(prefix: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The same leaves with `prefix` put before every name; the inverse of `under`."""
    return {prefix + name: leaf for name, leaf in params.items()}


def parted(leaves: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and batch statistics that one dict holds together."""
    stats = {name: leaf for name, leaf in leaves.items() if name.endswith(STATISTICS)}
    return {name: leaf for name, leaf in leaves.items() if name not in stats}, stats
