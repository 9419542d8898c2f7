"""Regions: what clustering recovers, and densities against a reference."""

import itertools

import numpy as np
import pytest
from scipy.special import ive

from pipeline.arrays import Array
from pipeline.regions.clustering import spherical_kmeans
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.shape import moved, shape_of
from pipeline.regions.vmf import MAX_CONCENTRATION, angles, log_density


def on_sphere(vectors: Array) -> Array:
    unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def cloud(centroid: Array, n: int, spread: float, seed: int) -> Array:
    noise = np.random.default_rng(seed).normal(size=(n, len(centroid)))
    return on_sphere(centroid + spread * noise)


def planted(dimensions: int = 16, clusters: int = 5, n: int = 60) -> tuple[Array, np.ndarray]:
    centers = on_sphere(np.random.default_rng(1).normal(size=(clusters, dimensions)))
    vectors = np.concatenate([cloud(center, n, 0.08, seed) for seed, center in enumerate(centers)])
    return vectors, np.repeat(np.arange(clusters), n)


def region(centroid: Array, radius: float = 0.3, concentration: float = 20.0) -> Region:
    return Region(1, 0, Status.LIVE, Origin.BASE, None, centroid, radius, concentration, 0.5)


def test_angles_are_those_of_the_sphere() -> None:
    axes = np.eye(3)
    degrees = np.degrees(angles(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0.6, 0.8]]), axes))
    np.testing.assert_allclose(degrees[0], [0, 90, 90])
    np.testing.assert_allclose(degrees[1], [180, 90, 90])
    np.testing.assert_allclose(np.cos(np.radians(degrees[2])), [0, 0.6, 0.8], atol=1e-12)


def test_an_angle_to_itself_is_never_nan() -> None:
    vectors = on_sphere(np.random.default_rng(0).normal(size=(500, 64)))
    own = np.diag(angles(vectors, vectors))
    assert np.isfinite(own).all()
    assert own.max() < 1e-6


def test_kmeans_recovers_planted_clusters() -> None:
    vectors, truth = planted()
    labels = spherical_kmeans(vectors, 5, seed=0)
    pairs = set(zip(labels.tolist(), truth.tolist(), strict=True))
    assert len(pairs) == 5


def test_the_seed_decides_the_clustering() -> None:
    vectors = on_sphere(np.random.default_rng(2).normal(size=(300, 8)))
    first, again, other = (spherical_kmeans(vectors, 7, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_clustering_ignores_the_random_state_of_numpy() -> None:
    vectors, _ = planted()
    np.random.seed(0)
    first = spherical_kmeans(vectors, 3, seed=1)
    np.random.seed(1)
    np.testing.assert_array_equal(first, spherical_kmeans(vectors, 3, seed=1))


def test_one_cluster_holds_everything() -> None:
    vectors, _ = planted()
    assert set(spherical_kmeans(vectors, 1, seed=0).tolist()) == {0}


def test_no_cluster_is_empty_while_vectors_differ() -> None:
    vectors = on_sphere(np.random.default_rng(5).normal(size=(12, 6)))
    for seed in range(20):
        assert set(spherical_kmeans(vectors, 12, seed).tolist()) == set(range(12))


def test_more_clusters_than_vectors_are_as_many_as_vectors() -> None:
    vectors = np.eye(3)
    assert sorted(spherical_kmeans(vectors, 8, seed=0).tolist()) == [0, 1, 2]


def test_equal_vectors_are_clustered_without_complaint() -> None:
    labels = spherical_kmeans(np.tile([[0.6, 0.8]], (9, 1)), 3, seed=0)
    assert labels.shape == (9,)
    assert set(labels.tolist()) <= {0, 1, 2}


def test_more_restarts_are_never_worse() -> None:
    vectors = on_sphere(np.random.default_rng(6).normal(size=(200, 8)))

    def fit_of(restarts: int) -> float:
        labels = spherical_kmeans(vectors, 9, seed=0, restarts=restarts)
        return sum(float(np.linalg.norm(vectors[labels == k].sum(axis=0))) for k in range(9))

    values = [fit_of(restarts) for restarts in (1, 4, 16)]
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(values))


def test_a_shape_is_where_the_windows_are() -> None:
    center = on_sphere(np.random.default_rng(0).normal(size=(1, 32)))[0]
    vectors = cloud(center, 4000, 0.05, seed=1)
    shape = shape_of(vectors, 0.9)
    assert angles(shape.centroid[None], center[None])[0, 0] < 0.02
    np.testing.assert_allclose(np.linalg.norm(shape.centroid), 1.0)
    within = angles(vectors, shape.centroid[None])[:, 0] <= shape.radius
    np.testing.assert_allclose(within.mean(), 0.9, atol=0.001)


@pytest.mark.parametrize(("dimensions", "kappa"), [(3, 10.0), (16, 40.0), (64, 150.0)])
def test_the_concentration_of_a_von_mises_fisher_sample_is_found(dimensions: int, kappa: float) -> None:
    vectors = vmf_sample(dimensions, kappa, 20_000)
    np.testing.assert_allclose(shape_of(vectors, 0.9).concentration, kappa, rtol=0.05)


def vmf_sample(dimensions: int, kappa: float, n: int) -> Array:
    """Draw around the first axis by Wood's (1994) rejection method."""
    rng = np.random.default_rng(0)
    b = (dimensions - 1) / (2 * kappa + np.sqrt(4 * kappa**2 + (dimensions - 1) ** 2))
    x = (1 - b) / (1 + b)
    c = kappa * x + (dimensions - 1) * np.log(1 - x**2)
    z = rng.beta((dimensions - 1) / 2, (dimensions - 1) / 2, size=4 * n)
    w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
    kept = w[kappa * w + (dimensions - 1) * np.log(1 - x * w) - c >= np.log(rng.uniform(size=4 * n))][:n]
    assert len(kept) == n
    tangent = on_sphere(rng.normal(size=(n, dimensions - 1)))
    return np.concatenate([kept[:, None], np.sqrt(1 - kept[:, None] ** 2) * tangent], axis=1)


@pytest.mark.parametrize("n", [1, 2])
def test_a_shape_of_equal_windows_is_finite(n: int) -> None:
    shape = shape_of(np.tile([[0.6, 0.8, 0.0]], (n, 1)), 0.9)
    assert shape.concentration == MAX_CONCENTRATION
    assert shape.radius < 1e-6


def test_a_shape_of_opposite_windows_is_finite() -> None:
    shape = shape_of(np.array([[1.0, 0.0], [-1.0, 0.0]]), 0.9)
    assert np.isfinite([*shape.centroid, shape.radius, shape.concentration]).all()
    np.testing.assert_allclose(np.linalg.norm(shape.centroid), 1.0)


def test_a_region_moves_by_the_weight_of_the_new_windows() -> None:
    old = region(np.array([1.0, 0, 0]))
    new = cloud(np.array([0.0, 1.0, 0]), 500, 0.05, seed=0)
    there = shape_of(new, 0.9)
    stayed, halfway, went = (moved(old, new, rate, 0.9) for rate in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(stayed.centroid, old.centroid)
    np.testing.assert_allclose(went.centroid, there.centroid)
    np.testing.assert_allclose(np.degrees(angles(halfway.centroid[None], old.centroid[None])), 45.0, atol=0.5)
    np.testing.assert_allclose(halfway.radius, (old.radius + there.radius) / 2)
    np.testing.assert_allclose(halfway.concentration, (old.concentration + there.concentration) / 2)


def reference_log_density(vectors: Array, centroids: Array, kappa: Array) -> Array:
    """Exact, by the exponentially scaled Bessel function, up to the constant that `log_density` leaves out."""
    nu = vectors.shape[1] / 2 - 1
    return nu * np.log(kappa) - np.log(ive(nu, kappa)) - kappa + kappa * (vectors @ centroids.T)


@pytest.mark.parametrize("dimensions", [3, 4, 8, 16, 64, 128])
def test_the_log_density_is_that_of_von_mises_and_fisher(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    vectors = on_sphere(rng.normal(size=(20, dimensions)))
    kappa = np.array([0.5, 2.0, 10.0, 60.0, 300.0])
    centroids = on_sphere(rng.normal(size=(len(kappa), dimensions)))
    found = log_density(vectors, centroids, kappa)
    assert found.shape == (20, len(kappa))
    np.testing.assert_allclose(found, reference_log_density(vectors, centroids, kappa), atol=1e-9)


@pytest.mark.parametrize("dimensions", [512, 1024, 4096])
def test_beyond_what_a_float_holds_the_density_goes_on_smoothly(dimensions: int) -> None:
    kappa = np.geomspace(1e-3, MAX_CONCENTRATION, 4000)
    axis = np.eye(dimensions)[:1]
    density = log_density(axis, np.tile(axis, (len(kappa), 1)), kappa)[0]
    steps = np.diff(density)
    assert (ive(dimensions / 2 - 1, kappa) == 0).any()
    assert (steps > 0).all()
    np.testing.assert_allclose(steps[1:], steps[:-1], rtol=0.02, atol=1e-3)


def test_the_density_integrates_to_one_whatever_the_concentration() -> None:
    vectors = on_sphere(np.random.default_rng(0).normal(size=(200_000, 6)))
    centroids = on_sphere(np.ones((3, 6)))
    mean = np.exp(log_density(vectors, centroids, np.array([1e-6, 1.0, 5.0]))).mean(axis=0)
    np.testing.assert_allclose(mean / mean[0], 1.0, rtol=0.02)


@pytest.mark.parametrize("dimensions", [2, 64, 1024])
def test_the_log_density_is_finite_at_the_extremes(dimensions: int) -> None:
    vectors = np.eye(dimensions)[:2]
    kappa = np.array([0.0, 1e-12, MAX_CONCENTRATION])
    found = log_density(vectors, np.tile(vectors[:1], (3, 1)), kappa)
    assert np.isfinite(found).all()


def test_a_posterior_by_density_sums_to_one_and_recovers_planted_regions() -> None:
    vectors, truth = planted()
    shapes = [shape_of(vectors[truth == k], 0.9) for k in range(5)]
    log_odds = log_density(vectors, np.stack([s.centroid for s in shapes]), np.array([s.concentration for s in shapes]))
    odds = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    posterior = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0)
    np.testing.assert_array_equal(posterior.argmax(axis=1), truth)


def test_a_tight_region_does_not_take_the_windows_of_a_wide_one() -> None:
    wide, tight = np.array([1.0, 0, 0, 0]), on_sphere(np.array([[0.6, 0.8, 0, 0]]))[0]
    concentrations = np.array([3.0, 400.0])
    windows = cloud(wide, 300, 0.4, seed=0)
    density = log_density(windows, np.stack([wide, tight]), concentrations)
    assert (density.argmax(axis=1) == 0).mean() > 0.95
    unnormalised = concentrations * (windows @ np.stack([wide, tight]).T)
    assert (unnormalised.argmax(axis=1) == 0).mean() < 0.6


def test_a_region_survives_being_recorded() -> None:
    before = region(on_sphere(np.random.default_rng(0).normal(size=(1, 5)))[0])
    after = Region.from_record(before.to_record())
    np.testing.assert_array_equal(after.centroid, before.centroid)
    assert after.to_record() == before.to_record()
    assert after.status is Status.LIVE
