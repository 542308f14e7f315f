"""Whitening: what it makes of the features it was learned on, in both forms."""

import numpy as np
import pytest

from dino_jax.ops import whitening


@pytest.fixture
def features() -> np.ndarray:
    random = np.random.default_rng(0)
    mixed = random.normal(size=(400, 8)) @ random.normal(size=(8, 8)) + random.normal(size=8) * 3
    return mixed.astype(np.float32)


def test_centred_features_have_unit_covariance(features):
    learned = whitening.learned(features, form="centred")
    white = learned(features).astype(np.float64)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(8), atol=1e-4)
    assert learned.floored == 0
    assert learned.energy == pytest.approx(1)


def test_the_reference_s_moment_is_about_zero_and_its_features_less_the_mean(features):
    learned = whitening.learned(features)
    # Undone by what is added back: it is the uncentred features that come out white.
    white = (learned.matrix @ features.astype(np.float64).T).T
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(8), atol=1e-4)
    np.testing.assert_allclose(learned(features), white - learned.matrix @ learned.mean, atol=1e-4)
    centred = whitening.learned(features, form="centred")
    assert not np.allclose(np.abs(centred.matrix), np.abs(learned.matrix), atol=1e-2)


def test_the_forms_agree_on_features_of_mean_zero(features):
    centred = features - features.mean(axis=0)
    both = [whitening.learned(centred, form=form)(centred) for form in ("reference", "centred")]
    np.testing.assert_allclose(np.abs(both[0]), np.abs(both[1]), atol=1e-3)


def test_fewer_dimensions_are_the_leading_ones(features):
    whole, leading = whitening.learned(features), whitening.learned(features, dimensions=3)
    np.testing.assert_allclose(leading(features), whole(features)[:, :3], atol=1e-5)
    values = np.linalg.eigvalsh(features.astype(np.float64).T @ features / len(features))
    assert leading.energy == pytest.approx(values[-3:].sum() / values.sum())


def test_power_zero_only_turns(features):
    learned = whitening.of_moment(np.cov(features.T), power=0)
    turned = learned(features)
    np.testing.assert_allclose(turned @ turned.T, features @ features.T, rtol=1e-3, atol=1e-2)


def test_directions_without_variance_are_held_at_the_floor(features):
    learned = whitening.learned(features[:3])  # three images span three of eight directions
    assert learned.floored == 5
    lengths = np.linalg.norm(learned.matrix, axis=1)
    np.testing.assert_allclose(lengths[3:], lengths[0] / np.sqrt(whitening.FLOOR), rtol=1e-5)


def test_features_that_do_not_vary_are_refused():
    same = np.ones((5, 4), np.float32)
    with pytest.raises(ValueError, match="do not vary"):
        whitening.learned(same, form="centred")
    whitening.learned(same)  # about zero they do
