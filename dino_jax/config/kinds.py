"""What changing a field means for a run that has begun: one table."""

from typing import NamedTuple

from dino_jax import tree
from dino_jax.config.fields import get, leaves
from dino_jax.config.tree import Config

IDENTITY, SCHEDULE, OPERATIONAL = "identity", "schedule", "operational"

RULES = (
    # free: neither the images nor the mathematics of a step depend on these
    (
        r"^(accumulate|devices|fsdp|(log|eval|checkpoint)_every|keep_checkpoints|report)$",
        OPERATIONAL,
    ),
    (r"^data\.(val|workers|threads)$", OPERATIONAL),
    (r"^(model\.(blocks|attention|remat)|loss\.chunk)$", OPERATIONAL),
    (r"^eval\.", OPERATIONAL),
    # how long and how strongly: the stored state fits, the curve bends; only when forced
    (r"^(epochs|steps|precision)$", SCHEDULE),
    (r"^data\.train$", SCHEDULE),  # the same images may lie elsewhere; their number is identity
    (r"^optim\.(min_)?learning_rate$", SCHEDULE),
    (r"^optim\.(warmup_epochs|weight_decay|weight_decay_end|clip)$", SCHEDULE),
    (r"^optim\.freeze_last_layer_epochs$", SCHEDULE),
    (r"^teacher\.", SCHEDULE),
    # what the run is: never
    (r"^(seed|batch_size|init_(from|head|optimiser)|optim\.name)$", IDENTITY),
    (r"^data\.(mean|std|decode)$", IDENTITY),
    (r"^(model|head|crops|augment|loss)\.", IDENTITY),
)


class Change(NamedTuple):
    """A field that differs between two configurations."""

    path: str
    kind: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


def kinds() -> dict[str, str]:
    """Give the kind of every field by dotted path."""
    return tree.matching(RULES, leaves())


def compare(old: Config, new: Config) -> list[Change]:
    """List the fields in which two configurations differ, in the tree's order."""
    return [
        Change(path, kind, get(old, path), get(new, path))
        for path, kind in kinds().items()
        if get(old, path) != get(new, path)
    ]
