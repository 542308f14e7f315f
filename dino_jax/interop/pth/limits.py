"""What ends the reading of a file, and the bounds every file is held to."""

import dataclasses

MAX_PICKLE = 64 << 20
"""Bytes of one pickle; that of a full ViT-B checkpoint has 0.2 MB."""
MAX_STRING = 1 << 20
MAX_NAME = 256
MAX_STACK = 20_000
"""Values on the stack: pickle flushes the items of a container by the thousand."""
MAX_MARKS = 1_000
MAX_DEPTH = 100
"""Containers within containers; so deep a result can still be walked by recursion."""
MAX_ENTRIES = 100_000
MAX_AXES = 8
MAX_EXTENT = 1 << 48
"""Of a size, a stride, an offset, a count of elements."""
MAX_SCATTERED = 10_000
"""Whole numbers as keys that do not count from 0 (old optimisers' are addresses): their hashes are
themselves, so that they can be chosen to meet each other."""
DENSE = 1024
"""Keys and memo indices count from 0 where they stay below this and twice those there are."""
MAX_KEY = (1 << 61) - 1
"""Whole numbers as keys stay below it: there each has a hash of its own."""
SPARE = 32 << 20
"""Bytes a reading may take beyond twice the file: the objects of small files."""
OPCODE_COST = 256
"""Bytes charged for every opcode, more than it leaves behind, in the result too."""
CONTAINER_COST = 256
"""Bytes charged besides for a list, dict or tuple: it is made again for the result."""
FIELD_COST = 256
"""Bytes charged for every field that BUILD copies."""

DAMAGED = "if it is damaged, download or copy it again; else save it again in PyTorch"
FOREIGN = (
    "nothing of it was run; if you trust where it is from, save its bare state_dict in PyTorch and "
    "give that file"
)


class RefusedError(Exception):
    """Why a file is not read, and what to do; the reader puts the file's name before it."""

    def __init__(self, found: str, advice: str = DAMAGED) -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice


class EndedError(RefusedError):
    """The bytes at hand end within a pickle."""


@dataclasses.dataclass
class Budget:
    """The bytes a reading may still take: twice the file's and a constant."""

    left: int

    @classmethod
    def of(cls, size: int) -> "Budget":
        """The budget of a file of `size` bytes."""
        return cls(2 * size + SPARE)

    def spend(self, amount: int) -> None:
        """Charge `amount` bytes before they are taken.

        Raises:
            RefusedError: more than is left.
        """
        self.left -= amount
        if self.left < 0:
            raise RefusedError("it would take more than twice its size in memory", FOREIGN)


def quoted(value: object) -> str:
    """A string or bytes of the file, in one short line; the type's name of anything else."""
    if not isinstance(value, str | bytes):
        return f"a value of type {type(value).__name__.lower()}"
    return f"{value[:60]!a}{'…' if len(value) > 60 else ''}"
