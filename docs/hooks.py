"""What the site needs beyond mkdocs: links that leave docs/ lead somewhere on it too.

On the repository's page `../benchmarks/results/knn.json` is a link like any other. A site has only
what lies under docs/. So each file outside that a page links to becomes a file of the site, at the
same place it has in the repository; a folder becomes a page that lists what is in it.
"""

import pathlib
import posixpath
import re
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)([^)]*\))", re.DOTALL)
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
FRONT = {"README.md": "index.md"}
"""Files of the repository for which a page of the site stands."""
LISTED = "files.md"
"""The page of a folder."""


def place_in_repository(page: str) -> str:
    """Where in the repository a page of the site is a file of."""
    return f"docs/{page}" if (ROOT / "docs" / page).exists() else page


def target_of(page: str, link: str) -> str | None:
    """The path in the repository of a relative link on a page, None if it leads elsewhere."""
    if "://" in link or link.startswith(("/", "mailto:")):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place_in_repository(page)), link))
    return None if path.startswith("..") or not (ROOT / path).exists() else path


def place_on_site(path: str) -> str:
    """The place on the site of what has this path in the repository."""
    where = FRONT.get(path, path.removeprefix("docs/"))
    return posixpath.join(where, LISTED) if (ROOT / path).is_dir() else where


def linked(page: str, markdown: str) -> Iterator[str]:
    """Paths in the repository that a page links to and docs/ does not have as files."""
    for part in FENCE.split(markdown)[::2]:
        for _, link, _ in LINK.findall(part):
            path = target_of(page, link)
            if path and path not in FRONT and (_outside(path) or (ROOT / path).is_dir()):
                yield path


def rewritten(page: str, markdown: str) -> str:
    """The page with its links as they are on the site; code is left alone."""

    def change(match: re.Match[str]) -> str:
        path = target_of(page, match[2])
        if path is None:
            return match[0]
        link = posixpath.relpath(place_on_site(path), posixpath.dirname(page) or ".")
        return f"{match[1]}{link}{match[3]}"

    parts = FENCE.split(markdown)
    return "".join(LINK.sub(change, part) if n % 2 == 0 else part for n, part in enumerate(parts))


def listing(path: str) -> str:
    """The page of a folder: its files, and those of the folders in it."""
    files = sorted(file for file in (ROOT / path).rglob("*") if file.is_file())
    names = [file.relative_to(ROOT / path).as_posix() for file in files]
    return f"# {path}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def on_files(files: Any, *, config: Any) -> Any:
    """Add what pages link to, and what those link to in turn."""
    from mkdocs.structure.files import File

    files.append(added(config, File, "CONTRIBUTING.md"))
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        page = waiting.pop()
        for path in linked(page.src_uri, page.content_string):
            new = [added(config, File, one) for one in _files_of(path)]
            for file in new:
                if file.src_uri not in files.src_uris:
                    files.append(file)
                    waiting += [file] if file.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point the links of a page to where those files are on the site."""
    return rewritten(page.file.src_uri, markdown)


def added(config: Any, kind: Any, path: str) -> Any:
    """A file of the site, from a file or a folder of the repository."""
    if (ROOT / path).is_dir():
        return kind.generated(config, place_on_site(path), content=listing(path))
    return kind.generated(config, place_on_site(path), abs_src_path=str(ROOT / path))


def _outside(path: str) -> bool:
    return not path.startswith("docs/")


def _files_of(path: str) -> list[str]:
    """The path itself, and what lies in it where it is a folder outside docs/."""
    if not (ROOT / path).is_dir():
        return [path]
    within = (file for file in (ROOT / path).rglob("*") if file.is_file() and _outside(path))
    return [path, *sorted(file.relative_to(ROOT).as_posix() for file in within)]
