"""Rules over names: the first that occurs decides, and none may be left out."""

import pytest

from dino_jax.tree import matching


def test_first_rule_that_occurs_decides() -> None:
    rules = [(r"\.bias$", "bias"), (r"^head\.", "head"), ("", "rest")]
    names = ["head.mlp.0.bias", "head.mlp.0.weight", "backbone.pos_embed"]
    assert matching(rules, names) == dict(zip(names, ["bias", "head", "rest"], strict=True))


def test_every_name_that_no_rule_covers_is_listed() -> None:
    with pytest.raises(ValueError, match="no rule covers a, c"):
        matching([("b", 1)], ["a", "b", "c"])


def test_false_values_count_as_found() -> None:
    assert matching([("a", None), ("", 0)], "ab") == {"a": None, "b": 0}
