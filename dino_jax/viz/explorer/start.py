"""What a page shows when it is opened, as a command or a notebook asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dino_jax.config import UserError
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.maps import check_attention

NAMES: Final = ("head", "mass", "block", "blend", "smooth", "point")


def first_state(asked: Mapping[str, Any], encoders: Sequence[Encoder]) -> Mapping[str, Any]:
    """The state of the page's script from what is asked, any of these, None being as if unasked.

    `head` counts from 0 (None: the mean of all); `mass` in (0, 1] is the share of the attention
    that is outlined, to the per cent (None or 0: no outline); `block` is one of the first
    network's, from 0 or from the end, or if the page does not hold it the nearest that it holds;
    `blend` in [0, 1] is the overlay's opacity; `smooth` is whether colours blend between patches;
    `point` (x, y) in [0, 1) of the picture, from its left and top, is the patch that asks, pinned
    (None: CLS).

    Raises:
        UserError: another name, or a value outside these ranges.
    """
    if unknown := set(asked) - set(NAMES):
        raise UserError(
            f"a page cannot start with {', '.join(sorted(unknown))}: expected {', '.join(NAMES)}"
        )
    given = {name: value for name, value in asked.items() if value is not None}
    state: dict[str, Any] = {}
    if "head" in given:
        for each in encoders:
            if not 0 <= given["head"] < each.heads:
                raise UserError(f"head {given['head']}: {each.name} has {each.heads} heads, from 0")
        state["head"] = int(given["head"])
    if given.get("mass"):
        state |= {"keep": max(round(100 * _share("mass", given["mass"])), 1), "outlined": True}
    if "block" in given:
        state["block"] = check_attention(encoders[0], block=given["block"])
    if "blend" in given:
        state["blend"] = round(100 * _share("blend", given["blend"]))
    if "smooth" in given:
        state["smooth"] = bool(given["smooth"])
    if "point" in given:
        # The far edge belongs to the last patch.
        state["at"] = [min(_share("point", value), 0.999999) for value in given["point"]]
        state["pinned"] = True
    return state


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise UserError(f"{name} {value:g}: expected a share from 0 to 1")
    return float(value)
