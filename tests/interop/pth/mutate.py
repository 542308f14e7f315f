"""Right files made wrong by chance: flipped, cut, spliced, outside and inside their zip."""

import io
import pathlib
import random
import zipfile
from collections.abc import Callable, Iterator

from tests.interop.pth import build

DATA = pathlib.Path(__file__).parent / "data"
OPCODES = b"(t\x85\x86\x87}])suaeN\x88\x89JKM\x8aGX\x8cUTBCqr\x94hjc\x93R\x81bQ\x95.02\x80\x92\x8f"
NUMBERS = (b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\xff\xff\xff\x7f", b"\x80", b"\x01")


def bases() -> list[bytes]:
    """Small right files of torch's and of this folder's own making."""
    held = [path.read_bytes() for path in sorted(DATA.glob("*.pth"))]
    views = build.group(build.tensor(), build.tensor((3, 2), (1, 3)), build.tensor((2,), offset=4))
    old = build.group(build.old_tensor(), build.old_tensor(size=(2, 3), stride=(3, 1)))
    return [*held, build.pth(build.tensor()), build.pth(views), build.legacy(old)]


def flip(data: bytearray, chance: random.Random, _: bytes) -> None:
    """Some bytes become others, near each other or not."""
    centre = chance.randrange(len(data))
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        near = centre + chance.randrange(-40, 40)
        place = (
            near if chance.random() < 0.5 and 0 <= near < len(data) else chance.randrange(len(data))
        )
        data[place] = chance.choice(
            (chance.randrange(256), data[place] ^ (1 << chance.randrange(8)))
        )


def opcode(data: bytearray, chance: random.Random, _: bytes) -> None:
    """Some bytes become opcodes."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        data[chance.randrange(len(data))] = chance.choice(OPCODES)


def number(data: bytearray, chance: random.Random, _: bytes) -> None:
    """A number becomes an extreme one."""
    place, value = chance.randrange(len(data)), chance.choice(NUMBERS)
    data[place : place + len(value)] = value


def cut(data: bytearray, chance: random.Random, _: bytes) -> None:
    """The end is missing, or a piece of the middle."""
    begin = chance.randrange(len(data))
    end = len(data) if chance.random() < 0.5 else begin + chance.choice((1, 2, 8, 64, 300))
    del data[begin:end]


def splice(data: bytearray, chance: random.Random, other: bytes) -> None:
    """A piece of another file comes in, over what was there or between."""
    begin = chance.randrange(len(other))
    piece = other[begin : begin + chance.choice((1, 4, 16, 64, 400))]
    place = chance.randrange(len(data) + 1)
    data[place : place + len(piece) * chance.randrange(2)] = piece


def repeat(data: bytearray, chance: random.Random, _: bytes) -> None:
    """A piece comes twice or often."""
    begin = chance.randrange(len(data))
    piece = data[begin : begin + chance.choice((1, 2, 3, 8, 32))]
    data[begin:begin] = piece * chance.choice((1, 2, 10, 100))


Change = Callable[[bytearray, random.Random, bytes], None]
CHANGES: tuple[Change, ...] = (flip, opcode, number, cut, splice, repeat)


def changed(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """One change, or a few."""
    held = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if held:
            chance.choice(CHANGES)(held, chance, other)
    return bytes(held)


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` mutated files. Most zips are right but for one file in them, its checksum too."""
    chance = random.Random(seed)
    right = bases()
    for place in range(count):
        data, other = chance.choice(right), chance.choice(right)
        label = f"{seed}:{place}"
        if data.startswith(b"PK") and chance.random() < 0.6:
            inside = unpacked(data)
            name = chance.choice(list(inside)) if chance.random() < 0.2 else next(iter(inside))
            pieces = unpacked(other) if other.startswith(b"PK") else {"": other}
            inside[name] = changed(inside[name] or b"x", chance, next(iter(pieces.values())))
            yield f"{label} inside", build.archive([build.Entry(*item) for item in inside.items()])
        else:
            yield label, changed(data, chance, other)
