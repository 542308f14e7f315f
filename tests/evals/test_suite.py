"""The evaluators of a run: what they say of its classes before it trains."""

import logging

from dino_jax.config import Config
from dino_jax.evals.comparison import baselines
from dino_jax.evals.suite import progress_suite
from dino_jax.models.build import Model
from tests.evals.sources import Coloured


def test_a_class_that_is_not_held_out_is_said_once_when_the_run_starts(caplog):
    """A wrong folder shows before hours of training, and again under the table, not in the log."""
    config = Config()
    config.crops.global_size = 32
    config.eval.retrieval_images = 4
    train, held_out = Coloured(12), Coloured(4, class_names=("a", "b"), seed=1)
    model = Model(*(lambda *_, **__: None,) * 4, patch_size=8, width=3, depth=1, heads=1)
    said = "coloured has no image of the class c."
    with caplog.at_level(logging.WARNING, "dino_jax"):
        progress_suite(model, config, train, held_out, mesh=None)
        table = baselines(model.features, config, train, held_out, {}, mesh=None)
    assert [record.getMessage() for record in caplog.records] == [said]
    assert table.notes[1].endswith(said)
