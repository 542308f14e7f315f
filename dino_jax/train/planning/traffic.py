"""What the devices say to each other in a step: collectives, their bytes and their time."""

from typing import NamedTuple


class Collective(NamedTuple):
    """One kind of exchange in a step; bytes of one device."""

    name: str
    what: str
    payload: float
    """Bytes of what is summed or put together."""
    sent: float
    """Bytes that a device sends over its links, by rings: the least there is."""


def collectives(
    *, parameters: float, split: float, centre: float, devices: int, shards: int
) -> list[Collective]:
    """The exchanges of a step over `devices`, of which `shards` share one copy of the state.

    `parameters` are the bytes of the student, `split` of those of its tensors that are cut into
    parts, `centre` those of the mean of the teacher's outputs.
    """
    if devices == 1:
        return []
    copies, whole = devices // shards, parameters - split
    found = []
    if shards > 1:
        for name in ("student's", "teacher's"):
            found += [_exchange("all-gather", f"{name} parameters", split, shards, 1)]
        found.append(_exchange("reduce-scatter", "gradient", split, shards, 1))
        if copies > 1:
            found.append(
                _exchange("all-reduce", "parts of the gradient", split / shards, copies, 2)
            )
    whole_name = "gradient" if shards == 1 else "gradient of what is not split"
    found.append(_exchange("all-reduce", whole_name, whole, devices, 2))
    found.append(_exchange("all-reduce", "mean of the teacher's outputs", centre, devices, 2))
    return found


def _exchange(name: str, what: str, payload: float, among: int, times: int) -> Collective:
    return Collective(name, what, payload, times * payload * (among - 1) / among)
