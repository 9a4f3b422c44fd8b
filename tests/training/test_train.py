"""Training makes the same network of the same clips, and its integers are what it computes."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ltxfilter.motion.fusion import checked_layers  # noqa: E402
from ltxfilter.motion.kernels.numpy_weights import softmax  # noqa: E402
from training.network import (  # noqa: E402
    Network,
    reversed_features,
    reversed_order,
    whole_matrices,
)
from training.pictures import examples  # noqa: E402
from training.train import gains, trained  # noqa: E402


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen frames in which a square moves over a ground that moves the other way."""
    path = tmp_path_factory.mktemp("clips") / "square.mkv"
    rng = np.random.default_rng(3)
    ground = cv2.resize(rng.integers(80, 120, (20, 40), dtype=np.uint8), (320, 160))
    square = cv2.resize(rng.integers(130, 200, (8, 8), dtype=np.uint8), (48, 48))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        for number in range(13):
            luma = ground[:144, 4 * number :][:, :192].copy()
            luma[50:98, 20 + 7 * number :][:, :48] = square[:, : 192 - 20 - 7 * number]
            planes = np.concatenate([luma, np.full((72, 192), 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_the_same_clip_makes_the_same_network_and_it_gains(clip: Path) -> None:
    known = list(examples(clip))
    again = list(examples(clip))
    assert known
    for one, other in zip(known, again, strict=True):
        np.testing.assert_array_equal(one.features, other.features)
        np.testing.assert_array_equal(one.errors, other.errors)
    first, second = (trained(known, steps=60).exported() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert len(checked_layers(first)) == 4
    before = gains(Network(), known)
    after = gains(trained(known, steps=60), known)
    assert all(after[key]["mean"] > before[key]["mean"] for key in after)


def test_exported_integers_compute_what_the_network_does() -> None:
    torch.manual_seed(1)
    network = Network()
    with torch.no_grad():
        network.layers[-1].weight *= 10
    features = np.random.default_rng(2).integers(-96, 256, (50, 49)).astype(np.int16)
    with torch.no_grad():
        expected = torch.softmax(network(torch.from_numpy(features.astype(np.float32) / 32)), 1)
    active = features.astype(np.int32)
    for number, (weights, bias) in enumerate(checked_layers(network.exported())):
        total = active @ weights.astype(np.int32) + bias
        active = np.clip(total >> (8 if number == 0 else 10), 0, 4095)
    found = softmax(total >> 9) / 32768
    assert np.abs(found - expected.numpy()).max() < 0.01


def test_time_runs_backwards_and_forwards_again() -> None:
    features = np.arange(98, dtype=np.float32).reshape(2, 49)
    np.testing.assert_array_equal(reversed_features(reversed_features(features)), features)
    order = reversed_order()
    np.testing.assert_array_equal(order[order], np.arange(13))
    places = whole_matrices().reshape(13, 13)
    np.testing.assert_array_equal(places, places.T)
    assert sorted(set(places.ravel())) == list(range(91))
