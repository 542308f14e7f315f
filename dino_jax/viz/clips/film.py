"""Writing a film, frame by frame: H.264 in an .mp4 that every player opens."""

import contextlib
import pathlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8

from dino_jax.config import UserError
from dino_jax.data.clip import ffmpeg
from dino_jax.files import whole

_QUALITY = "18"  # of x264's scale: small differences are not to be seen
_COLOURS = "bt709"  # said and used, or players guess by the size
_MATRIX = f"scale=out_color_matrix={_COLOURS}:out_range=tv:flags=accurate_rnd+full_chroma_int"


@contextlib.contextmanager
def written_film(
    path: pathlib.Path, *, height: int, width: int, rate: Fraction, said: str = ""
) -> Iterator[Callable[[UInt8[np.ndarray, "h w 3"]], None]]:
    """Yield what takes frames of `height` x `width` pixels; the film is whole at the end.

    The format halves the resolution of colour, so that sides are even: an odd one gets its last
    row or column twice. There is no sound. `said` is kept in the file as its comment. If the block
    fails there is no film, and one of before is as it was.

    Raises:
        UserError: there is no ffmpeg, or it cannot write the film.
    """
    even = (height + height % 2, width + width % 2)
    with whole(path) as unfinished, tempfile.TemporaryFile() as errors:
        command = _command(unfinished, even, rate, said)
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=errors, stderr=errors, process_group=0
        )
        try:
            yield lambda frame: _send(process, frame, even)
        except BrokenPipeError:  # it has ended: why, is told below
            if not process.wait():
                raise
        except BaseException:
            process.kill()
            raise
        finally:
            process.communicate()  # closes its input, and waits for its end
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1].strip() if lines else f"ffmpeg ended with {process.returncode}"
            raise UserError(f"the film {path} cannot be written ({reason})")


def _command(path: pathlib.Path, even: tuple[int, int], rate: Fraction, said: str) -> list[str]:
    command = [ffmpeg(), "-y", "-hide_banner", "-v", "error", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", f"{even[1]}x{even[0]}", "-r", str(rate), "-i", "-"]
    command += ["-vf", _MATRIX, "-c:v", "libx264", "-crf", _QUALITY, "-pix_fmt", "yuv420p"]
    command += ["-color_primaries", _COLOURS, "-color_trc", _COLOURS, "-colorspace", _COLOURS]
    command += ["-color_range", "tv", "-movflags", "+faststart", "-metadata", f"comment={said}"]
    return [*command, f"file:{path.resolve()}"]


def _send(
    process: subprocess.Popen, frame: UInt8[np.ndarray, "h w 3"], even: tuple[int, int]
) -> None:
    height, width = frame.shape[:2]
    padded = np.pad(frame, ((0, even[0] - height), (0, even[1] - width), (0, 0)), mode="edge")
    if process.stdin is not None:
        process.stdin.write(np.ascontiguousarray(padded).data)
