"""The ResNet of torchvision with bottlenecks ("v1.5": the stride is in the 3x3), without `fc`."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dino_jax.models.gradients import matmul_precision
from dino_jax.models.initial import DECLARED
from dino_jax.models.layers import BatchNorm
from dino_jax.models.vit import Features

EXPANSION = 4
"""Outputs of a bottleneck over its inner width."""


class Convolution(nn.Module):
    """A square convolution without bias, weight (out, in, k, k), zero padding of k // 2."""

    features: int
    size: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    precision: jax.lax.Precision | None = None
    """Of its products; None: that of `dtype`."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch rows columns features"]:
        """Floor((side + 2 (k // 2) - k) / stride) + 1 positions along each side."""
        shape = (self.features, x.shape[-1], self.size, self.size)
        weight = self.param("weight", DECLARED, shape, jnp.float32).astype(self.dtype)
        precision = self.precision or matmul_precision(self.dtype)
        x, half, stride = x.astype(self.dtype), self.size // 2, self.stride
        if self.size == 1:  # a matrix product: its gradients then are none of wide convolutions
            return jax.lax.dot_general(
                x[:, ::stride, ::stride],
                weight[:, :, 0, 0],
                (((3,), (1,)), ((), ())),
                precision=precision,
            )
        return jax.lax.conv_general_dilated(
            x,
            weight.transpose(2, 3, 1, 0),
            (stride, stride),
            ((half, half), (half, half)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=precision,
        )


def max_pool(x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ channels"]:
    """The largest of 3x3 positions, stride 2, one beyond the border on every side as -inf.

    By slices, one axis after the other: the gradient of `reduce_window` takes twenty times as long
    on CPU. Equal numbers share their gradient.
    """
    for axis in (1, 2):
        beyond = [(1, 1) if each == axis else (0, 0) for each in range(4)]
        padded = jnp.pad(x, beyond, constant_values=-jnp.inf)
        last = 2 * ((x.shape[axis] - 1) // 2)
        x = functools.reduce(
            jnp.maximum,
            (jax.lax.slice_in_dim(padded, i, i + last + 1, 2, axis) for i in range(3)),
        )
    return x


class Downsample(nn.Module):
    """A 1x1 convolution and a norm, numbered as in the original's `nn.Sequential`."""

    features: int
    stride: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch rows columns features"]:
        """Match the shape of what it is added to."""
        x = Convolution(self.features, 1, self.stride, self.dtype, name="0")(x)
        return BatchNorm(name="1")(x, train=train)


class Bottleneck(nn.Module):
    """1x1 to `planes`, 3x3 with the stride, 1x1 to four times as many, plus the input."""

    planes: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch rows columns outputs"]:
        """Outputs are not negative."""
        outputs = EXPANSION * self.planes
        y = Convolution(self.planes, 1, dtype=self.dtype, name="conv1")(x)
        y = nn.relu(BatchNorm(name="bn1")(y, train=train))
        y = Convolution(self.planes, 3, self.stride, self.dtype, name="conv2")(y)
        y = nn.relu(BatchNorm(name="bn2")(y, train=train))
        y = Convolution(outputs, 1, dtype=self.dtype, name="conv3")(y)
        y = BatchNorm(name="bn3")(y, train=train)
        if self.stride != 1 or x.shape[-1] != outputs:
            x = Downsample(outputs, self.stride, self.dtype, name="downsample")(x, train=train)
        return nn.relu(y + x.astype(y.dtype)).astype(self.dtype)


class Layer(nn.Module):
    """Bottlenecks of one width; the first has the stride."""

    planes: int
    blocks: int
    stride: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch rows columns outputs"]:
        """One bottleneck after the other."""
        for index in range(self.blocks):
            stride = self.stride if index == 0 else 1
            x = Bottleneck(self.planes, stride, self.dtype, name=str(index))(x, train=train)
        return x


class ResNet(nn.Module):
    """A stem, four layers of `stages` bottlenecks, and the mean over the positions.

    `width` is that of the features, 32 times the stem's.
    """

    width: int
    stages: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        *,
        train: bool,
        cls_only: bool = False,
    ) -> Features:
        """Encode normalised images of any size; `cls` is the mean, `patches` the last map."""
        stem = self.width // (EXPANSION * 2 ** (len(self.stages) - 1))
        # Its 147 products a position are added up, and leave, in float32 whatever `dtype`.
        conv1 = Convolution(stem, 7, 2, precision=matmul_precision(self.dtype), name="conv1")
        x = conv1(images)
        x = nn.relu(BatchNorm(name="bn1")(x, train=train)).astype(self.dtype)
        x = max_pool(x)
        for index, blocks in enumerate(self.stages):
            stride = 1 if index == 0 else 2
            layer = Layer(stem * 2**index, blocks, stride, self.dtype, name=f"layer{index + 1}")
            x = layer(x, train=train)
        patches = x.astype(jnp.float32).reshape(len(x), -1, self.width)
        return Features(patches.mean(axis=1), patches[:, :0] if cls_only else patches)
