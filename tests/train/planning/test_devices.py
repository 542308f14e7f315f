"""What `--devices` takes."""

import pytest

from dino_jax.config import UserError
from dino_jax.train.planning.devices import DEVICES, parse


@pytest.mark.parametrize(
    ("text", "name", "number", "grid"),
    [
        ("h100:8", "h100", 8, None),
        ("H100", "h100", 1, None),
        ("a100-80:16", "a100-80", 16, None),
        ("v5e:16x16", "v5e", 256, "16x16"),
        ("v5e", "v5e", 1, "1x1"),
        ("v4:4x4x4", "v4", 64, "4x4x4"),
        (" cpu:4 ", "cpu", 4, None),
    ],
)
def test_names_counts_and_grids(text: str, name: str, number: int, grid: str | None) -> None:
    found = parse(text)
    assert (found.name, found.number, found.topology) == (name, number, grid)
    assert found.device is DEVICES[name]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("h10:8", "did you mean h100? known are h100, h200"),
        ("", "known are h100"),
        (":8", "known are h100"),
        ("v5e:16x17", "no grid '16x17': v5e has 1x1, 2x2"),
        ("v5e:8", "no grid '8'"),
        ("v4:16x16", "v4 has 2x2x1"),
        ("v5e:", "nothing after the colon"),
        ("h100:", "nothing after the colon"),
        ("h100:0", "from 1 to 65536"),
        ("h100:-1", "from 1 to 65536"),
        ("h100:many", "from 1 to 65536"),
        ("h100:\u0668", "from 1 to 65536"),
        ("h100:8:8", "from 1 to 65536"),
        ("h100:99999999999999999999", "from 1 to 65536"),
    ],
)
def test_a_mistake_is_one_line_that_lists_what_is_known(text: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", sorted(set(DEVICES) - {"cpu"}))
def test_every_entry_is_whole(name: str) -> None:
    device = DEVICES[name]
    assert device.bfloat16 > device.float32 > 0
    assert device.memory > 8e9
    assert 1e9 < device.link < device.bandwidth
