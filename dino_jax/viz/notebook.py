"""What the notebooks begin with: photographs and weights at hand, and pages shown in a cell."""

import html
import importlib.util
import logging
import pathlib
import shutil
from collections.abc import Sequence

from dino_jax.config import UserError
from dino_jax.data.embedded import PHOTOGRAPHS
from dino_jax.files import made

log = logging.getLogger(__name__)

QUICKSTART = pathlib.Path("runs", "quickstart")
UNTRAINED = "random:vit_tiny_16"
SHOWN = ("astronaut", "chelsea", "coffee", "flower", "rocket")
"""Photographs of the wheels that may be shown anywhere (NOTICE)."""


def weights_at_hand(weights: str = "") -> str:
    """The weights named; else the quickstart's, of this folder or one above it; else untrained.

    Untrained weights are said to be so: what they attend to means nothing.
    """
    if weights:
        return weights
    here = pathlib.Path.cwd()
    for folder in (here, *here.parents):
        if (run := folder / QUICKSTART / "checkpoints").is_dir():
            return str(run.parent)
    log.warning(
        "no weights are named and there is no %s: %s is an untrained network, of which nothing can "
        "be learnt; name dino_vits16 (84 MB are downloaded) or a run of yours",
        QUICKSTART, UNTRAINED,
    )  # fmt: skip
    return UNTRAINED


def size_for(trained_at: int, *, most: int = 480) -> int:
    """Pixels of the short side at which a network is asked for maps: three times its own.

    More patches make finer maps; far more than it was trained on are unlike all that it has seen.
    """
    return min(3 * trained_at, most)


def photographs(folder: str | pathlib.Path, names: Sequence[str] = SHOWN) -> list[pathlib.Path]:
    """Copy photographs of scikit-image and scikit-learn into a folder; returns the files.

    Raises:
        UserError: one of them is not installed, or the folder cannot be written into.
    """
    target = made(pathlib.Path(folder), flag="the folder")
    known = {each.name: each for each in PHOTOGRAPHS}
    files = []
    for name in names:
        found = known.get(name)
        spec = found and importlib.util.find_spec(found.package)
        places = spec.submodule_search_locations if spec else None
        source = pathlib.Path(places[0], found.file) if places and found else None
        if source is None or not source.exists():
            raise UserError(f"there is no photograph {name}: expected one of {', '.join(known)}")
        files.append(pathlib.Path(shutil.copy(source, target)))
    return files


def frame(path: str | pathlib.Path, *, height: int = 720) -> str:
    """HTML that shows a self-contained page in a notebook's cell, `height` pixels high.

    The page is inside, so that it shows where the notebook's server is another machine.
    """
    text = html.escape(pathlib.Path(path).read_text(encoding="utf-8"))
    return (
        f'<div><iframe srcdoc="{text}" style="width: 100%; height: {height}px; border: 1px solid '
        '#8888" sandbox="allow-scripts allow-downloads"></iframe></div>'
    )
