"""Small films made by ffmpeg itself, without loss, and photographs that pan."""

import json
import pathlib
import subprocess
import sys
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
from PIL import Image

SHARP = ("-c:v", "libx264rgb", "-qp", "0")
"""Every pixel comes back as it was."""


def run(*arguments: object) -> None:
    """Run ffmpeg; raises where it fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y"]
    subprocess.run([*command, *map(str, arguments)], check=True)


def pan(number, height=48, width=64, *, step=3):
    """A window that moves to the right over scikit-image's astronaut, halved."""
    from skimage.data import astronaut

    scene = astronaut()[::2, ::2]
    return np.stack([scene[20 : 20 + height, k * step : k * step + width] for k in range(number)])


def write_film(path, frames, rate=Fraction(25), *, coded=SHARP, also=()):
    """A film of frames (n, h, w, 3) without sound; `also` are options of ffmpeg's output."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(np.ascontiguousarray(frames).tobytes())
    height, width = frames.shape[1:3]
    given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate)
    run(*given, "-i", raw, *coded, *also, f"file:{path}")
    raw.unlink()
    return path


def write_frames(folder, frames, names="frame-{}.png"):
    """Frames as files, not padded with zeros."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / names.format(number))
    return folder


_READ = """
import json, sys
import imageio.v3, numpy
numpy.save(sys.argv[2], imageio.v3.imread(sys.argv[1], plugin="FFMPEG"))
print(json.dumps(imageio.v3.immeta(sys.argv[1], plugin="FFMPEG"), default=str))
"""


def read_back(path: pathlib.Path):
    """Frames and what is said of them, by imageio: a reader that is not ours.

    In a process of its own, since it forks, which jax warns of.
    """
    array = path.with_suffix(".npy")
    command = [sys.executable, "-c", _READ, str(path), str(array)]
    said = subprocess.run(command, check=True, capture_output=True).stdout
    frames = np.load(array)
    array.unlink()
    return frames, json.loads(said)
