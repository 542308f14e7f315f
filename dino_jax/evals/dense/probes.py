"""What segments by patch tokens: a linear map, and the nearest patches of the training images."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from dino_jax.config import UserError
from dino_jax.evals.dense.tokens import Tokens
from dino_jax.ops import neighbours

Probe = Callable[[Float[np.ndarray, "n width"]], Float[Array, "n classes"]]
CHUNK = 16384
"""Patches held on the devices at once."""


class Linear(NamedTuple):
    """A linear classifier of patches as the network gives them."""

    weight: Float[np.ndarray, "width classes"]
    bias: Float[np.ndarray, "classes"]

    def logits(self, patches: Float[np.ndarray, "n width"]) -> Float[Array, "n classes"]:
        """The logit of every class, of every patch."""
        product = jnp.matmul(patches, self.weight, precision=jax.lax.Precision.HIGHEST)
        return product + self.bias[None, :]


def fit_linear(tokens: Tokens, *, decay: float, iterations: int, mesh: Mesh) -> Linear:
    """Softmax regression of the shares of every patch on its standardised features, by L-BFGS.

    The loss is the cross-entropy by pixel, void left out: a patch weighs what its classes' shares
    add up to. To its mean is added half of `decay` times the squared norm of the weights, not of
    the bias. Every iteration reads all patches, `CHUNK` at a time, sharded over `mesh`.
    """
    from scipy.optimize import minimize

    mean, std = _moments(tokens.features)
    width, classes = tokens.features.shape[1], tokens.shares.shape[1]
    total = float(tokens.shares.sum(dtype=np.float64))
    gradient = jax.jit(jax.value_and_grad(_loss))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat.reshape(width + 1, classes)
        params = jnp.asarray(weight, jnp.float32)
        value, slope = 0.0, np.zeros_like(weight)
        for features, shares in _chunks(tokens, mean, std, mesh):
            found, change = gradient(params, features, shares)
            value += float(found) / total
            slope += np.asarray(change, np.float64) / total
        value += decay / 2 * float(np.square(weight[:-1]).sum())
        slope[:-1] += decay * weight[:-1]
        return value, slope.ravel()

    start = np.zeros((width + 1) * classes)
    options = {"maxiter": iterations, "maxfun": 2 * iterations}
    best = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    weight, bias = np.split(best.reshape(width + 1, classes), [width])
    weight = weight / std[:, None]
    return Linear(weight.astype(np.float32), (bias[0] - mean @ weight).astype(np.float32))


def nearest_patches(tokens: Tokens, *, k: int, temperature: float, bank: int, seed: int) -> Probe:
    """The weighted vote of the `k` training patches most like a patch, by cosine.

    A patch of the bank has the class with most of its pixels; patches of void are left out. Of
    more patches than `bank` so many are drawn, by `seed`. The votes of a patch add up to 1.

    Raises:
        UserError: there are fewer patches than `k`.
    """
    kept = np.flatnonzero(tokens.shares.any(axis=1))
    if len(kept) > bank:
        kept = np.sort(np.random.Generator(np.random.Philox(seed)).choice(kept, bank, False))
    if k > len(kept):
        raise UserError(
            f"--k={k} wants {k} training patches, but there are {len(kept)} to look among: give a "
            "smaller --k, a larger --bank or more images"
        )
    features = neighbours.unit(np.asarray(tokens.features[kept]))
    labels = jnp.asarray(tokens.shares[kept].argmax(axis=1))
    classes = tokens.shares.shape[1]

    def votes(patches: Float[np.ndarray, "n width"]) -> Float[Array, "n classes"]:
        products, indices = neighbours.nearest(neighbours.unit(patches), features, k=k)
        found = neighbours.vote(products, labels[indices], temperature=temperature, classes=classes)
        return found / found.sum(axis=1, keepdims=True)

    return votes


def _loss(
    params: Float[Array, "rows classes"],
    features: Float[Array, "n width"],
    shares: Float[Array, "n classes"],
) -> Float[Array, ""]:
    product = jnp.matmul(features, params[:-1], precision=jax.lax.Precision.HIGHEST)
    return -(shares * jax.nn.log_softmax(product + params[-1:])).sum()


def _chunks(
    tokens: Tokens, mean: np.ndarray, std: np.ndarray, mesh: Mesh
) -> Iterator[tuple[Array, Array]]:
    """Standardised features and shares on the devices; the last chunk is filled up with void."""
    rows = -(-min(CHUNK, len(tokens.shares)) // mesh.size) * mesh.size
    placed = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    for start in range(0, len(tokens.shares), rows):
        features = (tokens.features[start : start + rows] - mean[None, :]) / std[None, :]
        both = features.astype(np.float32), tokens.shares[start : start + rows]
        filled = [np.pad(each, ((0, rows - len(each)), (0, 0))) for each in both]
        yield _put(filled[0], placed), _put(filled[1], placed)


def _put(value: np.ndarray, placed: NamedSharding) -> Array:
    # By callback, since a process may own only some of the mesh's devices.
    return jax.make_array_from_callback(value.shape, placed, lambda index: value[index])


def _moments(features: Float[np.ndarray, "n width"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every feature (float64); 1 where it never changes."""
    total = np.zeros((2, features.shape[1]))
    shift = features[0].astype(np.float64)  # near the mean: squares then lose nothing
    for start in range(0, len(features), CHUNK):
        part = features[start : start + CHUNK] - shift[None, :]
        total += [part.sum(axis=0), np.square(part).sum(axis=0)]
    mean, square = total / len(features)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return mean + shift, np.where(std > 1e-6, std, 1.0)
