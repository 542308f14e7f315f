"""One block's queries and keys in so few bytes that a page can hold all blocks.

Attention from any token is softmax(q k^T): a page that holds the queries and keys needs no map of
tokens by tokens. They are packed with loss, and how much is lost is measured on what comes out:

1. Adding the same vector to all keys changes no attention, so the keys' mean is left out.
2. Any q A and k A^-T give the same logits. A is chosen by the singular value decomposition
   q k^T = U S V^T: q becomes U S, k becomes V S, and the logits are sum_c q_c k_c / S_c. There
   one step of rounding, the same for all channels, costs every channel the same error of the
   logits, the most that can be had for the bits; channels that hardly matter round to 0.
3. The step is the largest with which no value of the maps measured is off by more than a
   tolerance times its map's maximum.
4. Integers lie channel by channel, zigzag (0, -1, 1, -2 ...), low bytes apart from high ones,
   and are deflated, which every browser undoes by itself.

The rows of CLS are held as they are, in float32.
"""

import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dino_jax.viz.attend.maps import CLS, softmax

ROWS = 512
"""At most so many maps of every head are measured, evenly spaced; of fewer tokens all."""
_TRIAL_ROWS = 96
_AIM = 0.8  # of the tolerance, in trials on fewer rows
_LARGEST = 1 << 15
_NOTHING = 1e-9  # a map of less has gone to CLS altogether


class Packed(NamedTuple):
    """One block of one picture: three deflated streams, see `pack`, and what they lose.

    `error` is the largest difference of a value from the library's, as a share of its map's
    maximum, over `measured` maps of each head; `typical` the median over maps of their largest.
    """

    streams: tuple[bytes, bytes, bytes]
    heads: int
    tokens: int
    channels: int
    error: float
    typical: float
    measured: int

    @property
    def size(self) -> int:
        """Bytes, deflated."""
        return sum(map(len, self.streams))


class Unpacked(NamedTuple):
    """What a page reads: the logits are sum over channels of weights * queries * keys."""

    weights: Float[np.ndarray, "heads channels"]
    queries: Int[np.ndarray, "heads channels tokens"]
    keys: Int[np.ndarray, "heads channels tokens"]
    cls: Float[np.ndarray, "heads tokens"]

    def attention(self, token: int) -> Float[np.ndarray, "heads tokens"]:
        """What a token attends to: of CLS the library's numbers, of others nearly."""
        if token == CLS:
            return self.cls
        asked = self.weights.astype(np.float64) * self.queries[:, :, token]
        return softmax(np.einsum("hc,hcn->hn", asked, self.keys.astype(np.float64)))


def pack(
    queries: Float[np.ndarray, "heads tokens channels"],
    keys: Float[np.ndarray, "heads tokens channels"],
    *,
    tolerance: float = 0.01,
) -> Packed:
    """Pack the scaled queries and the keys of one block; token 0 is CLS.

    The streams are, before they are deflated: the weights (float32, heads x channels), the rows of
    CLS (float32, heads x tokens, the four bytes of a number each on a plane of its own) and how
    many bytes (0, 1, 2) a number takes (heads x 2 x channels); the low bytes, by head, queries
    before keys, channel and token; and the high bytes of the channels of two.
    """
    heads, tokens = queries.shape[:2]
    found = [_rounded(*pair, tolerance) for pair in zip(queries, keys, strict=True)]
    weights = np.stack([each.weights for each in found]).astype("<f4")
    numbers = np.stack([each.numbers for each in found])  # heads, 2, channels, tokens
    cls = softmax(np.einsum("hc,hnc->hn", queries[:, CLS], keys, dtype=np.float64))
    zigzag = np.where(numbers >= 0, 2 * numbers, -2 * numbers - 1).astype("<u2")
    most = zigzag.max(axis=-1)
    widths = (most > 0).astype(np.uint8) + (most > 255)
    planes = cls.astype("<f4")[..., None].view(np.uint8)
    streams = (
        weights.tobytes() + np.moveaxis(planes, -1, 0).tobytes() + widths.tobytes(),
        (zigzag[widths > 0] & 255).astype(np.uint8).tobytes(),
        (zigzag[widths > 1] >> 8).astype(np.uint8).tobytes(),
    )
    return Packed(
        (_deflated(streams[0]), _deflated(streams[1]), _deflated(streams[2])),
        heads,
        tokens,
        weights.shape[1],
        max(each.errors.max(initial=0.0) for each in found),
        float(np.median(np.concatenate([each.errors for each in found]))),
        len(found[0].errors),
    )


def unpack(packed: Packed) -> Unpacked:
    """Read the streams as a page does."""
    first, low, high = (zlib.decompress(stream) for stream in packed.streams)
    heads, tokens, channels = packed.heads, packed.tokens, packed.channels
    start, end = 4 * heads * channels, 4 * heads * (channels + tokens)
    weights = np.frombuffer(first[:start], "<f4").reshape(heads, channels)
    planes = np.frombuffer(first[start:end], np.uint8).reshape(4, -1)
    cls = np.ascontiguousarray(planes.T).view("<f4").reshape(heads, tokens)
    widths = np.frombuffer(first[end:], np.uint8).reshape(heads, 2, channels)
    zigzag = np.zeros((heads, 2, channels, tokens), np.int32)
    zigzag[widths > 0] = np.frombuffer(low, np.uint8).reshape(-1, tokens)
    zigzag[widths > 1] += np.frombuffer(high, np.uint8).reshape(-1, tokens).astype(np.int32) << 8
    numbers = np.where(zigzag & 1, -(zigzag + 1) // 2, zigzag // 2)
    return Unpacked(weights, numbers[:, 0], numbers[:, 1], cls)


class _Rounded(NamedTuple):
    """One head: integers (queries and keys), the weight of each channel, the errors of maps."""

    numbers: Int[np.ndarray, "2 channels tokens"]
    weights: Float[np.ndarray, "channels"]
    errors: Float[np.ndarray, "measured"]


def _rounded(
    queries: Float[np.ndarray, "tokens channels"],
    keys: Float[np.ndarray, "tokens channels"],
    tolerance: float,
) -> _Rounded:
    """The largest step found within the tolerance, as far as 16 bits reach."""
    keys = keys - keys.mean(axis=0, keepdims=True)
    asking, asked, strength = _balanced(queries, keys)
    balanced = np.stack([asking, asked])
    tokens = len(queries)
    trial, final = (_spaced(tokens, count) for count in (_TRIAL_ROWS, ROWS))
    wanted = [_maps(queries, keys, rows) for rows in (trial, final)]
    least = float(np.abs(balanced).max(initial=1e-30)) / (_LARGEST - 1)

    def at(step: float, rows: np.ndarray, exact: np.ndarray) -> _Rounded:
        numbers = np.round(balanced / step).astype(np.int32)
        weights = (step * step / strength).astype(np.float32)
        decoded = _maps((numbers[0] * weights[:, None]).T, numbers[1].T, rows)
        return _Rounded(numbers, weights, _errors(exact, decoded))

    # The error grows with the step, nearly in proportion: a few trials on few rows find the scale.
    step = max(_first_step(len(strength), tokens, tolerance), least)
    for _ in range(4):
        error = max(at(step, trial, wanted[0]).errors.max(initial=0.0), 1e-12)
        step = max(step * float(np.clip(_AIM * tolerance / error, 0.2, 5)), least)
    result = at(step, final, wanted[1])
    while result.errors.max(initial=0.0) > tolerance and step > least:
        step = max(0.85 * step, least)
        result = at(step, final, wanted[1])
    return result


def _balanced(
    queries: Float[np.ndarray, "tokens channels"], keys: Float[np.ndarray, "tokens channels"]
) -> tuple[
    Float[np.ndarray, "channels tokens"],
    Float[np.ndarray, "channels tokens"],
    Float[np.ndarray, "channels"],
]:
    """U S and V S of queries keys^T = U S V^T, and S, without forming the product.

    From the whitened queries and keys: by their Gram matrices, which are small. Directions that
    they lack get next to nothing; the logits stay the same whatever the whitening.
    """
    white, coloured = _whitening(queries)
    keys_white, keys_coloured = _whitening(keys)
    u, strength, v = np.linalg.svd(coloured @ keys_coloured.T)
    strength = np.maximum(strength, np.finfo(np.float32).tiny)
    asking = queries.astype(np.float64) @ (white @ u * strength[None, :])
    asked = keys.astype(np.float64) @ (keys_white @ v.T * strength[None, :])
    return asking.T, asked.T, strength


def _whitening(
    values: Float[np.ndarray, "tokens channels"],
) -> tuple[Float[np.ndarray, "channels channels"], Float[np.ndarray, "channels channels"]]:
    """W and its inverse C: the columns of values W are orthonormal, or 0, and (values W) C them."""
    wide = values.astype(np.float64)
    squares, axes = np.linalg.eigh(wide.T @ wide)
    lengths = np.sqrt(np.maximum(squares, max(1e-12 * squares[-1], 1e-24)))
    return axes / lengths[None, :], lengths[:, None] * axes.T


def _first_step(channels: int, tokens: int, tolerance: float) -> float:
    """Errors of logits of a quarter of the tolerance, were all rounding errors independent.

    Their variance is then channels x 2 x step^2 / 12 / tokens: U and V have columns of length 1.
    """
    return tolerance / 4 * float(np.sqrt(6 * tokens / max(channels, 1)))


def _spaced(tokens: int, count: int) -> Int[np.ndarray, "rows"]:
    """Patches, evenly spaced; CLS is exact and not among them."""
    return np.unique(np.linspace(1, tokens - 1, min(count, tokens - 1)).round().astype(np.int64))


def _maps(
    queries: np.ndarray, keys: np.ndarray, rows: Int[np.ndarray, "rows"]
) -> Float[np.ndarray, "rows tokens"]:
    """In float32, whose own error is far below any tolerance, and quick."""
    logits = queries[rows].astype(np.float32) @ keys.astype(np.float32).T
    np.exp(logits - logits.max(axis=1, keepdims=True), out=logits)
    return logits / logits.sum(axis=1, keepdims=True)


def _errors(
    exact: Float[np.ndarray, "rows tokens"], decoded: Float[np.ndarray, "rows tokens"]
) -> Float[np.ndarray, "rows"]:
    """The largest error of each map as a share of its maximum, without CLS and with it."""
    off = np.abs(exact - decoded)
    patches = off[:, 1:].max(axis=1) / np.maximum(exact[:, 1:].max(axis=1), _NOTHING)
    return np.maximum(patches, off.max(axis=1) / exact.max(axis=1))


def _deflated(content: bytes) -> bytes:
    """By whichever of two strategies is shorter: noise has no repeats but runs of zeros."""
    ways = []
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
        writer = zlib.compressobj(6, zlib.DEFLATED, 15, 9, strategy)
        ways.append(writer.compress(content) + writer.flush())
    return min(ways, key=len)
