"""`embedded:photos`: real photographs that lie inside the scikit-image and scikit-learn wheels.

Nothing is downloaded. Every photograph is divided into cells with a gap between them; some cells
are for training, the others are held out. An example is one window of a cell, its label is the
photograph, so no pixel of a held-out window is ever seen in training.
"""

import dataclasses
import importlib.util
import itertools
import pathlib

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.decode import to_array
from dino_jax.data.source import Source

WINDOW = 64
GAP = 8
TRAIN_WINDOWS = 320
VAL_WINDOWS = 32
_LARGEST_SIDE = 640
_FLAT = 4.0  # a window whose grey levels deviate less shows nothing: night sky, a black border


@dataclasses.dataclass(frozen=True)
class Photograph:
    """One photograph: its file, and the two properties that evaluations keep apart."""

    name: str
    package: str
    file: str
    grey: bool = False
    texture: bool = False
    shown: bool = True
    """Whether its terms are known to allow that parts of it are published (`NOTICE`)."""


def _skimage(
    file: str, *, grey: bool = False, texture: bool = False, shown: bool = True
) -> Photograph:
    return Photograph(file.split(".")[0], "skimage", f"data/{file}", grey, texture, shown)


def _sklearn(file: str) -> Photograph:
    return Photograph(file.split(".")[0], "sklearn", f"datasets/images/{file}")


# Left out: drawings, text, phantoms, logos, silhouettes, and the right half of the stereo pair.
PHOTOGRAPHS = (
    _skimage("astronaut.png"),
    _skimage("brick.png", grey=True, texture=True),
    _skimage("camera.png", grey=True),
    _skimage("chelsea.png"),
    _sklearn("china.jpg"),
    _skimage("coffee.png"),
    _skimage("coins.png", grey=True),
    _sklearn("flower.jpg"),
    _skimage("grass.png", grey=True, texture=True),
    _skimage("gravel.png", grey=True, texture=True),
    _skimage("hubble_deep_field.jpg"),
    _skimage("ihc.png"),
    _skimage("moon.png", grey=True, shown=False),
    _skimage("motorcycle_left.png", shown=False),
    _skimage("retina.jpg"),
    _skimage("rocket.jpg"),
)


class EmbeddedSource(Source):
    """Windows of the embedded photographs, equally many of each."""

    def __init__(self, spec: str, split: str, window: int, channels: int) -> None:
        """Decode the photographs and lay out the windows of one split ("train" or "val").

        Raises `UserError` if the window is too large to hold cells out, or a wheel is missing.
        """
        if channels not in (1, 3):
            raise UserError(f"{spec} has 1 or 3 channels, not {channels}; set model.channels")
        photographs, windows = [], []
        self._pixels: list[UInt8[np.ndarray, "h w c"]] = []
        for photograph in PHOTOGRAPHS:
            pixels = _read(photograph, "RGB" if channels == 3 else "L")
            corners = _corners(pixels, split, window)
            if len(corners):
                photographs.append(photograph)
                windows.append(corners)
                self._pixels.append(pixels)
        if len(photographs) < 2:
            raise UserError(f"{spec}: windows of {window} pixels are too large; use 128 or fewer")
        super().__init__(spec, channels, [photograph.name for photograph in photographs])
        self.photographs = tuple(photographs)
        self.split = split
        self.window = window
        self._corners = np.concatenate(windows)
        self._labels = np.repeat(np.arange(len(windows)), [len(w) for w in windows])

    def __len__(self) -> int:
        """The number of windows."""
        return len(self._labels)

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """One window, square."""
        top, left = self._corners[index]
        pixels = self._pixels[self._labels[index]]
        return pixels[top : top + self.window, left : left + self.window].copy()

    def name(self, index: int) -> str:
        """The photograph and the window's top left corner in it."""
        top, left = self._corners[index]
        return f"{self.class_names[self._labels[index]]}@{top},{left}"

    def may_be_shown(self, index: int) -> bool:
        """Whether the photograph's terms are known to allow it."""
        return self.photographs[self._labels[index]].shown

    def held_out(self) -> "EmbeddedSource":
        """The windows of the same size in the held-out cells; raises `UserError` if these are."""
        if self.split == "val":
            raise UserError(
                f"{self.spec} is itself what is held out of the photographs: train on "
                "embedded:photos:train, or name other images by data.val"
            )
        spec = f"embedded:photos:val:{self.window}"
        return EmbeddedSource(spec, "val", self.window, self.channels)

    @property
    def labels(self) -> Int[np.ndarray, "n"]:
        """The photograph of every window."""
        return self._labels

    @property
    def grey(self) -> Bool[np.ndarray, "classes"]:
        """For every class, whether the photograph itself is grey."""
        return np.array([photograph.grey for photograph in self.photographs])

    @property
    def texture(self) -> Bool[np.ndarray, "classes"]:
        """For every class, whether the photograph shows a texture and no scene."""
        return np.array([photograph.texture for photograph in self.photographs])


def cells(height: int, width: int, split: str, window: int) -> list[tuple[int, int, int, int]]:
    """The cells of one split as (top, left, bottom, right); none if there is room for one only.

    Cells of both splits together are disjoint and at least `GAP` apart; a quarter to a third of
    them, spread over the photograph, are held out ("val").
    """
    rows, columns = _intervals(height, window), _intervals(width, window)
    if len(rows) * len(columns) < 2:
        return []
    return [
        (top, left, bottom, right)
        for (r, (top, bottom)), (c, (left, right)) in itertools.product(
            enumerate(rows), enumerate(columns)
        )
        if (split == "val") == ((c + 2 * r) % 4 == 0)
    ]


def _intervals(length: int, window: int) -> list[tuple[int, int]]:
    """Cells of about two windows along one side, or of one where only that makes two cells."""
    number = (length + GAP) // (2 * window + GAP)
    if number < 2:
        number = min(2, (length + GAP) // (window + GAP))
    if number == 0:
        return []
    starts = [k * (length + GAP) // number for k in range(number + 1)]
    return [(start, end - GAP) for start, end in itertools.pairwise(starts)]


def _corners(pixels: UInt8[np.ndarray, "h w c"], split: str, window: int) -> Int[np.ndarray, "n 2"]:
    """Top left corners of the windows: as many as wanted, evenly from all that show something."""
    wanted = VAL_WINDOWS if split == "val" else TRAIN_WINDOWS
    boxes = cells(pixels.shape[0], pixels.shape[1], split, window)
    room = sum((b - t - window + 1) * (r - left - window + 1) for t, left, b, r in boxes)
    stride = max(1, int((room / (2 * wanted)) ** 0.5))
    grey = pixels.mean(axis=2)
    candidates = [
        (top, left)
        for t, le, b, r in boxes
        for top in range(t, b - window + 1, stride)
        for left in range(le, r - window + 1, stride)
        if grey[top : top + window, left : left + window].std() >= _FLAT
    ]
    chosen = np.linspace(0, len(candidates) - 1, min(wanted, len(candidates))).round()
    return np.array(candidates, np.int64).reshape(-1, 2)[chosen.astype(np.int64)]


def _read(photograph: Photograph, mode: str) -> UInt8[np.ndarray, "h w c"]:
    """The photograph's pixels, shrunk by a whole factor where 64 of them would show too little."""
    spec = importlib.util.find_spec(photograph.package)
    folders = spec.submodule_search_locations if spec is not None else None
    path = pathlib.Path(folders[0], photograph.file) if folders else None
    if path is None or not path.exists():
        raise UserError(
            f"embedded:photos needs {photograph.file} of {photograph.package}, which is not "
            "installed; run pip install scikit-image scikit-learn"
        )
    with Image.open(path) as image:
        image.load()
        factor = -(-min(image.size) // _LARGEST_SIDE)
        return to_array(image.reduce(factor) if factor > 1 else image, mode)
