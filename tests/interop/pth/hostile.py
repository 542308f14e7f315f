"""What a row of the tables of hostile files is; the numbers are those of formats.md 6.8."""

from typing import NamedTuple


class Case(NamedTuple):
    """A file that must be refused, and what the line about it must say (a regular expression)."""

    number: int
    label: str
    data: bytes
    said: str

    def __str__(self) -> str:
        return f"{self.number}-{self.label}"
