"""Clips: a film's file or a folder of its frames, one frame after the other in bounded memory."""

import abc
import contextlib
import io
import logging
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import IO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError, decode, is_image_name, upright_size

FOLDER_RATE = 30
"""Frames a second of a folder of frames (reference, section 1.6: `--fps`)."""

_BROADCAST = (24, 30, 48, 60, 120)
"""Rates that broadcasting divides by 1.001: ffmpeg prints 30,000 / 1,001 as 29.97."""
_READING = ("-nostdin", "-hide_banner", "-protocol_whitelist", "file,pipe")
_SQUARE = "scale=trunc(iw*sar+0.5):ih,setsar=1"  # DV and DVD have pixels that are not
_SHORT = 0.9  # of the frames that the duration promises: sound may go on a little longer

_EXPECTED = "expected a film that ffmpeg reads, or a folder of frames"

_LOG = logging.getLogger(__name__)


def ffmpeg() -> str:
    """The program that reads and writes films.

    Raises:
        UserError: it is not installed.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "films are read and written by imageio-ffmpeg, which is not there: "
            "pip install imageio-ffmpeg, or give and take frames in a folder"
        ) from error


class Clip(abc.ABC):
    """Frames in their order, at a rate: RGB, upright, of one size, read as often as asked for.

    `rate` is in frames a second; `number` is of frames, of a film an estimate until it was read to
    its end, None where it says nothing; `sound` whether there is a track of it (it is not read).
    """

    def __init__(self, path: pathlib.Path, rate: Fraction, number: int | None) -> None:
        """What is known before a frame is read."""
        self.path, self.rate, self.number, self.sound = path, rate, number, False

    def frames(self) -> Generator[UInt8[np.ndarray, "h w 3"], None, None]:
        """Every frame from the first on; stop reading by closing the iterator.

        Raises:
            UserError: there is none, one cannot be read, or one differs in size.
        """
        shape, count = None, 0
        for count, frame in enumerate(self._frames(), 1):
            shape = shape or frame.shape
            if frame.shape != shape:
                raise UserError(
                    f"{self.path} changes its size at frame {count}, from {shape[1]} x {shape[0]} "
                    f"to {frame.shape[1]} x {frame.shape[0]}: give a clip of one size"
                )
            yield frame
        self.number = count

    @abc.abstractmethod
    def _frames(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Every frame, whatever its size."""


def open_clip(path: str | pathlib.Path, *, fps: float | None = None) -> Clip:
    """A clip from a film's file (all that ffmpeg reads) or a folder of images.

    A folder's images are taken in natural order (frame-2 before frame-10) at `fps` frames a second
    (30 by default, as the original). A film keeps its rate and every frame; a lower `fps` takes
    so many frames out of each second of it. Turned films are upright, and pixels are made square.

    Raises:
        UserError: there is no such clip, it cannot be read, or it holds no frame.
    """
    path = pathlib.Path(path).expanduser()
    if fps is not None and not 0 < fps <= 1000:
        raise UserError(f"--fps={fps:g}: expected frames a second, above 0 and at most 1000")
    if path.is_dir():
        return _Folder(path, fps)
    if not path.is_file():
        raise UserError(f"there is no clip {path}: give a film's file or a folder of frames")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty: {_EXPECTED}")
    return _Film(path, fps)


def frame_rate(printed: float) -> Fraction:
    """Frames a second as a fraction, of a number with two decimals: 29.97 is 30,000 / 1,001."""
    for whole in _BROADCAST:
        exact = Fraction(whole * 1000, 1001)
        if abs(printed - exact) < 0.006:
            return exact
    return Fraction(str(printed)).limit_denominator(1001)


class _Folder(Clip):
    def __init__(self, path: pathlib.Path, fps: float | None) -> None:
        named = (each for each in path.iterdir() if is_image_name(each.name) and each.is_file())
        self._files = sorted(named, key=lambda each: natural(each.name))
        if not self._files:
            raise UserError(f"{path} holds no images: expected the frames of a clip, one a file")
        super().__init__(path, frame_rate(fps or FOLDER_RATE), len(self._files))
        first, *others = self._files
        size = _size(first)
        for other in others:
            if _size(other) != size:
                raise UserError(
                    f"frames of {path} differ in size: {first.name} has {size[1]} x {size[0]} "
                    f"pixels, {other.name} {' x '.join(map(str, _size(other)[::-1]))}; expected "
                    "frames of one clip"
                )

    def _frames(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        for file in self._files:
            try:
                yield decode(file.read_bytes())
            except (OSError, UnreadableImageError) as error:
                raise _unreadable(file, error) from error


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """What to sort names by so that frame-2 comes before frame-10."""
    parts = re.split(r"([0-9]+)", name)
    return (*((1, int(p), "") if p.isdecimal() else (2, 0, p) for p in parts if p), (0, 0, name))


def _size(file: pathlib.Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return upright_size(image)
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise _unreadable(file, error) from error


def _unreadable(file: pathlib.Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split()).replace(f"'{file}'", "it") or type(error).__name__
    return UserError(f"the frame {file} cannot be read ({reason}): mend it or take it away")


class _Film(Clip):
    def __init__(self, path: pathlib.Path, fps: float | None) -> None:
        self._input = ("-i", f"file:{path.resolve()}")  # `file:`, since a name may hold a colon
        self._told = False
        said = subprocess.run(
            [ffmpeg(), *_READING, *self._input], capture_output=True, check=False
        ).stderr.decode(errors="replace")
        video = re.search(r"^ *Stream #.* Video: (?!.*\(attached pic\)).*$", said, re.MULTILINE)
        if video is None:
            raise UserError(f"{path} cannot be read as a film ({_reason(said)}): {_EXPECTED}")
        found = re.search(r" ([0-9.]+)(k?) fps", video[0])
        own = float(found[1]) * (1000 if found[2] else 1) if found else 0.0
        if not (own or fps):
            raise UserError(f"{path} does not say its frames a second: give --fps")
        if own and fps and frame_rate(fps) > frame_rate(own):
            raise UserError(f"--fps={fps:g}: {path} has no more than {own:g} frames a second")
        rate = frame_rate(fps or own)
        self._fewer = f",fps={rate}" if own and rate != frame_rate(own) else ""
        lasts = re.search(r"Duration: ([0-9]+):([0-9]+):([0-9.]+)", said)
        hours, minutes, seconds = (float(part) for part in lasts.groups()) if lasts else (0,) * 3
        number = round((3600 * hours + 60 * minutes + seconds) * rate)
        super().__init__(path, rate, max(1, number) if lasts else None)
        self.sound = bool(re.search(r"^ *Stream #.* Audio: ", said, re.MULTILINE))

    def _frames(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        command = [ffmpeg(), *_READING, "-v", "error", *self._input, "-map", "0:V:0"]
        command += ["-vf", _SQUARE + self._fewer, "-fps_mode", "passthrough"]
        command += ["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]
        count, said, promised = 0, "", self.number or 0
        with tempfile.TemporaryFile() as errors, _running(command, errors) as process:
            stream = process.stdout or io.BytesIO()
            while (frame := _pixels(stream)) is not None:
                yield frame
                count += 1
            process.wait()
            errors.seek(0)
            said = errors.read(100_000).decode(errors="replace")
        if not count:
            raise UserError(f"{self.path} holds no frame ({_reason(said)}): {_EXPECTED}")
        short = count < promised * _SHORT - 1
        if (said or short) and not self._told:
            self._told = True
            of = f" of about {promised}" if short else ""
            _LOG.warning(
                "%s is damaged or cut short (%s): %d%s frames are read", self.path, _reason(said),
                count, of,
            )  # fmt: skip


@contextlib.contextmanager
def _running(command: list[str], errors: IO[bytes]) -> Iterator[subprocess.Popen]:
    """A program of its own group, which a Ctrl-C does not reach, ended when the block ends."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, process_group=0
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _pixels(stream: IO[bytes]) -> UInt8[np.ndarray, "h w 3"] | None:
    """The next PPM image of a stream; None at its end, in the midst of an image too."""
    header = b"".join(stream.readline() for _ in range(3)).split()
    if len(header) != 4:
        return None
    width, height = int(header[1]), int(header[2])
    content = stream.read(height * width * 3)
    if len(content) < height * width * 3:
        return None
    return np.frombuffer(content, np.uint8).reshape(height, width, 3)


def _reason(said: str) -> str:
    """What ffmpeg found, in a few words."""
    if "moov atom not found" in said:
        return "it is none, or its end is missing"
    if "matches no streams" in said or ("Stream #" in said and "Video:" not in said):
        return "it has no pictures"
    lines = [line for line in said.splitlines() if line.strip() and "Last message" not in line]
    opening = [line for line in lines if "Error opening input:" in line]
    found = (opening or lines or ["its end is missing"])[0]
    return re.sub(r"^\[.*?\] |Error opening input: ", "", re.sub(r"^\[.*?\] ", "", found)).strip()
