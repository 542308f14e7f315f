"""Principal components against closed forms and scikit-learn's; thresholds against brute force."""

import numpy as np
import pytest

from dino_jax.ops.components import above, border, principal, stretched, two_means


def rows(count: int = 60, width: int = 7, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    scales = np.linspace(3, 0.3, width)
    return (draw.standard_normal((count, width)) ** 3 * scales + 5).astype(np.float32)


def rotation(width: int, seed: int = 1) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]


@pytest.mark.parametrize(("count", "width"), [(60, 7), (5, 12), (200, 3)])
def test_components_are_scikit_learns(count: int, width: int) -> None:
    from sklearn.decomposition import PCA

    given = rows(count, width)
    wanted, found = PCA(3, svd_solver="full").fit(given.astype(np.float64)), principal(given, 3)
    np.testing.assert_allclose(found.variances, wanted.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(found.explained, wanted.explained_variance_ratio_, rtol=1e-9)
    cosine = (found.directions * wanted.components_).sum(axis=1)
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-9)
    np.testing.assert_allclose(np.abs(found(given)), np.abs(wanted.transform(given)), atol=1e-8)


def test_points_on_an_ellipse() -> None:
    """Its axes are the directions, half their squares the variances (times n / (n - 1))."""
    angle = np.arange(100) * 2 * np.pi / 100
    plane = np.stack([5 * np.cos(angle), 2 * np.sin(angle), np.zeros(100)], axis=1)
    found = principal(plane + np.array([[1.0, 2, 3]]), 3)
    np.testing.assert_allclose(found.mean, [1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(np.abs(found.directions[:2]), np.eye(3)[:2], atol=1e-9)
    np.testing.assert_allclose(found.variances, np.array([12.5, 2, 0]) * 100 / 99, atol=1e-9)
    np.testing.assert_allclose(found.explained, np.array([12.5, 2, 0]) / 14.5, atol=1e-9)
    assert not found.directions[2].any(), "there is no third direction"


def test_scores_of_rotated_rows_are_the_same_in_sign_too() -> None:
    given = rows().astype(np.float64)
    turned = given @ rotation(given.shape[1])
    np.testing.assert_allclose(principal(turned, 4)(turned), principal(given, 4)(given), atol=1e-9)


def test_the_row_furthest_out_is_positive_whatever_the_order() -> None:
    given = rows()
    scores = principal(given, 3)(given)
    assert (scores[np.abs(scores).argmax(axis=0), np.arange(3)] > 0).all()
    order = np.random.default_rng(2).permutation(len(given))
    np.testing.assert_allclose(principal(given[order], 3)(given[order]), scores[order], atol=1e-9)
    mirrored = principal(-given, 3)(-given)
    np.testing.assert_allclose(mirrored, scores, atol=1e-9)


@pytest.mark.parametrize("given", [np.ones((9, 4)), rows(1, 4)], ids=["equal", "one"])
def test_rows_that_do_not_vary_have_no_components(given: np.ndarray) -> None:
    found = principal(given, 3)
    assert not found.directions.any()
    assert not found.explained.any()
    assert not found(given).any()


def brute(values: np.ndarray) -> float:
    """The least sum of squares within two groups, over every cut between neighbours."""
    ordered = np.unique(values)
    cuts = (ordered[1:] + ordered[:-1]) / 2

    def within(cut: float) -> float:
        parts = values[values > cut], values[values <= cut]
        return sum(float(((part - part.mean()) ** 2).sum()) for part in parts)

    return float(min(cuts, key=within))


@pytest.mark.parametrize("seed", range(8))
def test_threshold_is_that_of_brute_force(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = np.concatenate([draw.normal(0, 1, 40), draw.normal(4, 0.5, 5 + 10 * seed)])
    values = np.round(values, 1)  # with ties
    assert two_means(values) == pytest.approx(brute(values))


def test_threshold_is_about_scikit_images() -> None:
    from skimage.filters import threshold_otsu

    draw = np.random.default_rng(3)
    values = np.concatenate([draw.normal(0, 1, 500), draw.normal(6, 1, 300)])
    ours, theirs = two_means(values), threshold_otsu(values, nbins=4096)
    assert ((values > ours) == (values > theirs)).mean() > 0.999


def test_threshold_of_two_values_lies_between_them() -> None:
    assert two_means(np.array([3.0, 1, 3, 3])) == 2
    with pytest.raises(ValueError, match="all the same"):
        two_means(np.ones(5))


def test_the_side_is_that_of_the_larger_weight() -> None:
    values = np.array([0.0, 0.1, 5, 5.2])
    assert above(values, np.array([0, 0.1, 0.3, 0.2]))
    assert not above(values, np.array([0.5, 0.1, 0.3, 0.2]))
    assert not above(-values, np.array([0, 0.1, 0.3, 0.2]))


def test_border() -> None:
    np.testing.assert_array_equal(border(3, 4), [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    assert border(1, 5).all()


def test_stretched_by_the_range_of_some() -> None:
    scores = np.array([[-1.0, 7], [0, 7], [5, 7], [10, 7], [12, 7]])
    found = stretched(scores, [scores[1:2], scores[2:4]], tails=0)
    np.testing.assert_allclose(found[:, 0], [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(found[:, 1], 0.5)
    many = np.arange(101.0)[:, None]
    np.testing.assert_allclose(
        stretched(many, [many], tails=10)[:, 0], np.clip((many[:, 0] - 10) / 80, 0, 1)
    )
    with pytest.raises(ValueError, match="tails of 50"):
        stretched(many, [many], tails=50)
