"""A network for images of another size: its position table interpolated by us, as in training."""

import jax.numpy as jnp
import numpy as np

from dino_jax.config import UserError
from dino_jax.config.architectures import architecture_of
from dino_jax.interop.network import Network
from dino_jax.models.posembed import interpolate

TABLE = "backbone.pos_embed"


def at_size(network: Network, size: tuple[int, int] | None) -> Network:
    """The same network with the positions of images of `size` (height, width), as its own.

    Other libraries interpolate in other ways, so what they are given has to be of the size that
    they use. None leaves it as it is, and so it is where there is no table.

    Raises:
        UserError: a size without a patch, or a table that is not square and of another size.
    """
    if size is None:
        return network
    if min(size) < 1:
        raise UserError(f"the image size is {size[0]}x{size[1]}: expected two positive numbers")
    if architecture_of(network.model).family != "vit":
        return network
    patch = network.model.patch_size
    if min(size) < patch:
        raise UserError(f"images of {size[0]}x{size[1]} pixels hold no patch of {patch}")
    native = network.size
    table = interpolate(
        jnp.asarray(network.params[TABLE]),
        *size,
        patch,
        baked=None if native[0] == native[1] else native,
    )
    params = network.params | {TABLE: np.array(table, order="C")}
    return network._replace(size=size, params=params)
