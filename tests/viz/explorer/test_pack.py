"""What is packed comes out as it was, to the error that is stated of it."""

import zlib

import numpy as np
import pytest

from dino_jax.viz.explorer.pack import Packed, pack, unpack

HEADS, TOKENS, CHANNELS = 2, 31, 8


def projections(seed: int = 0, *, gain: float = 1.0, tokens: int = TOKENS) -> tuple:
    """Queries and keys of one block; the first head has a rank of 2."""
    random = np.random.default_rng(seed)
    queries, keys = random.normal(0, gain, (2, HEADS, tokens, CHANNELS)).astype(np.float32)
    keys[0] = keys[0, :, :2] @ random.normal(0, 1, (2, CHANNELS)).astype(np.float32)
    return queries, keys


def softmax_maps(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Every row of every head, in float64."""
    logits = queries.astype(np.float64) @ keys.astype(np.float64).transpose(0, 2, 1)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    return weights / weights.sum(axis=2, keepdims=True)


def decoded_maps(packed: Packed) -> np.ndarray:
    """By a decoder of its own: number by number, from the bytes."""
    first, low, high = (list(zlib.decompress(stream)) for stream in packed.streams)
    heads, tokens, channels = packed.heads, packed.tokens, packed.channels
    weights = np.frombuffer(bytes(first[: 4 * heads * channels]), "<f4").reshape(heads, channels)
    widths = first[4 * heads * (channels + tokens) :]
    numbers = np.zeros((heads, 2, channels, tokens))
    for (head, which, channel), width in zip(np.ndindex(heads, 2, channels), widths, strict=True):
        for token in range(tokens if width else 0):
            value = low.pop(0) + 256 * (high.pop(0) if width == 2 else 0)
            numbers[head, which, channel, token] = (-1) ** value * ((value + 1) // 2)
    assert not low
    assert not high
    asking = (numbers[:, 0] * weights[:, :, None]).transpose(0, 2, 1)
    return softmax_maps(asking, numbers[:, 1].transpose(0, 2, 1))


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("tolerance", [0.01, 0.001])
def test_every_value_keeps_to_the_stated_error(gain: float, tolerance: float) -> None:
    queries, keys = projections(gain=gain)
    packed = pack(queries, keys, tolerance=tolerance)
    exact, decoded = softmax_maps(queries, keys), decoded_maps(packed)
    off = np.abs(exact - decoded)[:, 1:]
    shares = np.maximum(
        off.max(axis=2) / exact[:, 1:].max(axis=2),
        off[..., 1:].max(axis=2) / exact[:, 1:, 1:].max(axis=2),
    )
    assert packed.measured == TOKENS - 1
    assert shares.max() <= packed.error * 1.01 + 1e-6
    assert packed.error <= tolerance
    # It is not far below what is allowed either: that would be bytes for nothing.
    assert packed.error > tolerance / 20
    assert packed.typical <= packed.error


def test_the_row_of_cls_is_that_of_the_library_bit_for_bit() -> None:
    queries, keys = projections()
    found = unpack(pack(queries, keys, tolerance=0.5))
    exact = softmax_maps(queries, keys)[:, 0].astype(np.float32)
    np.testing.assert_allclose(found.attention(0), exact, rtol=2e-7)
    assert found.cls.dtype == np.float32


def test_unpack_reads_what_the_decoder_of_the_test_reads() -> None:
    queries, keys = projections(3)
    packed = pack(queries, keys)
    found, expected = unpack(packed), decoded_maps(packed)
    for token in (1, TOKENS - 1):
        np.testing.assert_allclose(found.attention(token), expected[:, token], rtol=1e-5)


def test_a_vector_added_to_all_keys_costs_nothing() -> None:
    queries, keys = projections()
    plain = pack(queries, keys)
    shifted = pack(queries, keys + np.float32(0.5))
    assert shifted.size == pytest.approx(plain.size, rel=0.1)
    np.testing.assert_allclose(decoded_maps(shifted), softmax_maps(queries, keys), atol=0.01)


def test_a_transform_of_queries_undone_in_keys_costs_nothing() -> None:
    """The rounding is that of the logits, whatever basis they come in."""
    queries, keys = projections()
    turn = np.diag(np.logspace(-2, 2, CHANNELS)).astype(np.float32)
    turned = pack(queries @ turn, keys @ np.linalg.inv(turn).astype(np.float32))
    assert turned.size == pytest.approx(pack(queries, keys).size, rel=0.1)


def test_channels_that_change_nothing_take_no_bytes() -> None:
    queries, keys = projections()
    widths = np.asarray(unpack(pack(queries, keys)).keys.any(axis=2).sum(axis=1))
    assert widths[0] == 2
    assert widths[1] == CHANNELS


def test_finer_is_larger() -> None:
    queries, keys = projections(tokens=200)
    sizes = [pack(queries, keys, tolerance=tolerance).size for tolerance in (0.05, 0.01, 0.002)]
    assert sizes == sorted(sizes)
    # A step five times finer takes log2(5) bits a number more.
    bits = 8 * (sizes[2] - sizes[1]) / (2 * 200 * (CHANNELS + 2))
    assert 1 < bits < 4


@pytest.mark.parametrize("tokens", [2, 3, 5])
def test_pictures_of_fewer_patches_than_channels(tokens: int) -> None:
    queries, keys = projections(tokens=tokens)
    packed = pack(queries, keys)
    np.testing.assert_allclose(decoded_maps(packed), softmax_maps(queries, keys), atol=0.011)


def test_queries_of_zero_attend_evenly() -> None:
    queries, keys = projections()
    packed = pack(0 * queries, keys)
    np.testing.assert_allclose(decoded_maps(packed), 1 / TOKENS, rtol=1e-6)
    assert packed.error == pytest.approx(0, abs=1e-6)


def test_attention_too_sharp_for_sixteen_bits_says_its_error() -> None:
    queries, keys = projections(gain=4.0)
    packed = pack(queries, keys, tolerance=1e-4)
    off = np.abs(softmax_maps(queries, keys) - decoded_maps(packed))[:, 1:]
    assert packed.error > 1e-4
    assert off.max() <= packed.error * 1.05 + 1e-3
