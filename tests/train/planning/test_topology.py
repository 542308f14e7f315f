"""Mistakes in the name of a grid, and a compiler that is not there."""

import importlib.util

import pytest

from dino_jax.config import UserError
from dino_jax.train.planning.topology import topology


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v5e:2x", ":2x2", "v5e:axb", "v5e:²x2"])
def test_what_is_no_grid_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"is no TPU grid: expected one as v5e:16x16"):
        topology(name)


@pytest.mark.parametrize("name", ["v5e:32x32", "v4:16x16x16", "v5e:0x4"])
def test_a_grid_that_would_end_the_process_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} has \d+ chips: .* up to 256"):
        topology(name)


def test_without_its_compiler_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "libtpu" else real(name)
    )
    with pytest.raises(UserError, match=r"pip install 'dino_jax\[tpu\]'"):
        topology("v5e:2x2")
