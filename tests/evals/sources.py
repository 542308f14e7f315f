"""Images made up for the evaluations: small, with classes that colour tells apart."""

import numpy as np

from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source


class Coloured(Source):
    """Noise about one colour a class; the indices in `damaged` cannot be read."""

    def __init__(
        self,
        count,
        *,
        class_names=("a", "b", "c"),
        seed=0,
        damaged=(),
        labelled=True,
        named=True,
    ):
        super().__init__("coloured", 3, class_names if named else ())
        self._labels = np.arange(count) % len(class_names)
        self._colours = {
            name: np.random.default_rng(ord(name)).integers(40, 215, 3) for name in class_names
        }
        self._seed, self._damaged, self._labelled = seed, set(damaged), labelled
        self.loads = 0

    def __len__(self):
        return len(self._labels)

    def load(self, index):
        self.loads += 1
        if index in self._damaged:
            raise UnreadableImageError("damaged on purpose")
        noise = np.random.default_rng((self._seed, index)).normal(0, 12, (20, 24, 3))
        colour = self._colours[self.class_names[self._labels[index]]]
        return np.clip(colour + noise, 0, 255).astype(np.uint8)

    def name(self, index):
        return f"image {index}"

    @property
    def labels(self):
        return self._labels if self._labelled else None
