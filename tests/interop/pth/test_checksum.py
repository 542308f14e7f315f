"""The quick CRC-32 is zlib's, and what it rests on is true."""

import zlib

import numpy as np
import pytest

from dino_jax.interop.pth.checksum import BLOCK, LEAST, NEAR, WORDS, Checksum

POLYNOMIAL = 0x04C11DB7


def checksum(data: bytes, piece: int) -> int:
    found = Checksum(len(data))
    for begin in range(0, len(data), piece):
        found.update(memoryview(data)[begin : begin + piece])
    return found.value


@pytest.mark.parametrize("piece", [8 * 1000, 1 << 18, 8 * WORDS, 1 << 30])
@pytest.mark.parametrize("more", [0, 1, 7, 8, 8 * NEAR + 3, 8 * WORDS, 1_234_567])
def test_it_is_that_of_zlib(more: int, piece: int) -> None:
    data = np.random.default_rng(more).bytes(LEAST + more)
    assert checksum(data, piece) == zlib.crc32(data)


@pytest.mark.parametrize("size", [0, 1, 8, 1000, LEAST - 1])
@pytest.mark.parametrize("value", [b"\0", b"\xff", b"a"])
def test_short_and_even_messages(size: int, value: bytes) -> None:
    for data in (value * size, value * (LEAST + size)):
        assert checksum(data, 1 << 18) == zlib.crc32(data)


def test_every_flipped_bit_is_seen() -> None:
    data = bytearray(np.random.default_rng(0).bytes(LEAST + 5))
    right = checksum(bytes(data), 1 << 18)
    for place in np.random.default_rng(1).integers(0, len(data), 40):
        data[place] ^= 1
        assert checksum(bytes(data), 1 << 18) != right
        data[place] ^= 1


def test_three_terms_are_a_multiple_of_the_polynomial() -> None:
    powers = {}
    remainder = 1
    for exponent in range(WORDS + 1):
        if exponent in (WORDS - NEAR, WORDS):
            powers[exponent] = remainder
        remainder <<= 1
        if remainder >> 32:
            remainder ^= 1 << 32 | POLYNOMIAL
    assert powers[WORDS] ^ powers[WORDS - NEAR] ^ 1 == 0
    assert min(NEAR, WORDS - NEAR) > BLOCK
