"""What the command `attend` is asked for: its options, their defaults, and what they may be."""

import dataclasses
import pathlib
from typing import Literal

from dino_jax.config.tree import UserError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .ogv .wmv .flv .3gp .ts .mts .m2ts".split()
)
"""Names that are taken for films (in lower case); ffmpeg reads others too."""
MASS = 0.6
"""Share of the attention that figures outline: figure 4 of the paper."""

INTEGERS = {"size": 480, "block": None, "head": None}
REALS = ("mass", "fps", "blend")
WORDS = {"upsampling": ("nearest", "smooth"), "precision": ("float32", "bfloat16")}
SWITCHES = ("square", "heads", "stats", "html", "video", "frames", "beside", "offline")
"""The flags by what they take; the first word is the default."""


@dataclasses.dataclass(frozen=True)
class Looking:
    """The flags of `attend`, checked."""

    weights: tuple[str, ...]
    """Of the first row, then those it is compared with."""
    image: str
    out: pathlib.Path
    size: int = 480
    square: bool = False
    block: int | None = None
    """None: the last, of a figure; all, of a page. Given, a page holds that one alone."""
    head: int | None = None
    """None: the mean of all."""
    points: tuple[tuple[float, float], ...] = ()
    mass: float | None = None
    """None: as usual there, 0.6 of a figure and none of a film; 0: none."""
    upsampling: Literal["nearest", "smooth"] = "nearest"
    heads: bool = False
    stats: bool = False
    html: bool = False
    video: bool = False
    fps: float | None = None
    frames: bool = False
    beside: bool = False
    blend: float = 0.9
    offline: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Raise UserError for what is out of range."""
        if self.size < 1:
            raise UserError(f"--size={self.size}: expected pixels of the short side, above 0")
        if self.mass is not None and not 0 <= self.mass <= 1:
            raise UserError(f"--mass={self.mass:g}: expected a share of the attention in (0, 1]")
        if not 0 <= self.blend <= 1:
            raise UserError(f"--blend={self.blend:g}: expected an opacity between 0 and 1")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise UserError(f"--fps={self.fps:g}: expected frames a second, above 0")
        of_films = {"--fps": self.fps, "--frames": self.frames, "--beside": self.beside}
        of_pictures = {
            "--compare": len(self.weights) > 1, "--point": self.points, "--heads": self.heads,
            "--stats": self.stats, "--html": self.html,
        }  # fmt: skip
        wrong = [
            flag for flag, given in (of_pictures if self.filmed else of_films).items() if given
        ]
        if wrong:
            what = "photographs, and" if self.filmed else "videos (or --video), and"
            raise UserError(f"{wrong[0]} is of {what} --image={self.image} is not that")
        self._check_together()

    def _check_together(self) -> None:
        if self.html and (self.stats or self.heads):
            other = "--stats" if self.stats else "--heads"
            raise UserError(f"--html and {other} write different things: ask for one at a time")
        if self.html and len(self.points) > 1:
            raise UserError("--html opens at one --point: give one, the page shows the others")
        of_figures = {
            "--block": self.block is not None, "--head": self.head is not None,
            "--point": self.points, "--mass": self.mass is not None, "--heads": self.heads,
            "--upsampling": self.upsampling != Looking.upsampling,
            "--blend": self.blend != Looking.blend,
        }  # fmt: skip
        if self.stats and (wrong := [flag for flag, given in of_figures.items() if given]):
            raise UserError(
                f"--stats measures every head of every block from every patch: {wrong[0]} changes "
                "nothing there, leave it out"
            )

    @property
    def filmed(self) -> bool:
        """Whether the images are the frames of a video."""
        return self.video or is_film_name(self.image)

    @property
    def outlined(self) -> float | None:
        """The share of the attention that a figure outlines, if any."""
        return (MASS if self.mass is None else self.mass) or None


def is_film_name(name: str) -> bool:
    """Whether a file name looks like a film's."""
    return pathlib.PurePath(name).suffix.lower() in VIDEO_SUFFIXES


def point_of(text: str) -> tuple[float, float]:
    """`0.5,0.25` as x and y; raises UserError unless both are shares of width and height."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = -1.0
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise UserError(
            f"--point={text}: expected x,y as shares of width and height from the top left, each "
            "between 0 and 1: --point=0.5,0.5 is the middle"
        )
    return x, y


USAGE = """\
usage: python -m dino_jax.attend --weights=SPEC --image=FILE|FOLDER|VIDEO --out=DIR [OPTION ...]
  --weights=dino_vits16 --image=cat.jpg --out=pictures --compare=random:dino_vits16
--weights=SPEC       a run, RUN:student, a file, a published name, random:SPEC (docs/weights.md)
--image=             an image, a folder of them, or a video
--out=DIR            NAME-attention.png, a page of figures, and NAME-attention.npz, its numbers,
                     for every image; NAME-attention.mp4 of a video
--compare=SPEC       another row for other weights; may be repeated
--size=480           pixels of the short side; the aspect is kept
--square             stretch to a square, as the original does
--block=             one block, from 0, or from the end if negative: by default the last (-1); of
                     --html all, and one that is given is the only one the page holds
--head=              one head, from 0, in place of the mean: of points and of videos
--point=x,y          maps from the patch there too, in shares of width and height from the top
                     left (0.5,0.5: the middle); may be repeated
--mass=0.6           outline the patches that hold this share of the attention; 0: none
--upsampling=nearest or smooth: how maps are enlarged
--blend=0.9          opacity of full colour
--heads              every head's map as a file too, and its mask, as the original writes them
--stats              instead: distance, entropy and similarity of every head of every block
--html               instead: one page to explore every patch, block and head, attention.html;
                     it opens at --head, --point (one), --mass, --upsampling and --blend
--video              the images of a folder are the frames of a video
--fps=, --frames, --beside   of a video: frames a second (as the video's), every frame as a file
                     too, the frame and its attention side by side
--precision=float32  or bfloat16, of the products inside the network
--offline            download nothing: say what to put where
"""
