"""The pages, the blocks of code in them, and the commands in those."""

import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*/README.md")]
)
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {"PROTOCOL": "knn", "--to=FORMAT": "--to=timm"}
"""What a synopsis leaves open, and what it is read as."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def name(page: pathlib.Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """All blocks of all pages, or those in these languages."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(name(page), line, match[2], match[3]))
    return [block for block in found if not languages or block.language in languages]


def commands(block: Block) -> list[list[str]]:
    """The words of each command; of what is optional everything, of alternatives the first."""
    lines = block.text.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and words[0] == "taskset":  # which cores
            words = words[3:]
        words = [PLACEHOLDERS.get(word, word) for word in map(_chosen, words)]
        if words:
            found.append(words)
    return found


def _chosen(word: str) -> str:
    """`[--part=backbone|full]` as --part=backbone."""
    option = re.fullmatch(r"\[?(--?[^\s\[\]]+)\]?", word)
    return option[1].split("|")[0] if option and word != option[1] else word


def module_of(words: list[str]) -> tuple[str, list[str]] | None:
    """What `python -m` runs and its arguments, None where that is not what is called."""
    if len(words) > 2 and pathlib.Path(words[0]).name in ("python", "python3") and words[1] == "-m":
        return words[2], words[3:]
    return None
