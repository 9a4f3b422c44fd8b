"""Training makes the same network of the same clips, and its integers are what it computes."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ltxfilter.motion.fusion import checked_layers  # noqa: E402
from ltxfilter.motion.kernels import tile_mix, tile_weights  # noqa: E402
from ltxfilter.motion.kernels.numpy_tiles import block_share  # noqa: E402
from ltxfilter.motion.kernels.numpy_weights import softmax  # noqa: E402
from training.network import Network, chosen, mixed, reversed_features, reversed_order  # noqa: E402
from training.pictures import examples  # noqa: E402
from training.train import gains, trained, unlike_nearest  # noqa: E402


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
        np.testing.assert_array_equal(one.shown, other.shown)
    first, second = (trained(known, steps=4).exported() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert len(checked_layers(first)) == 4
    before = gains(Network(), known)
    after = gains(trained(known, steps=40), known)
    assert all(after[key]["mean"] > before[key]["mean"] for key in after)


@pytest.fixture
def as_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export gains as they were learned."""
    monkeypatch.setattr("training.network.SHARPER", 1.0)


@pytest.mark.usefixtures("as_learned")
def test_exported_integers_compute_what_the_network_does() -> None:
    torch.manual_seed(1)
    network = Network()
    with torch.no_grad():
        network.layers[-1].weight *= 10
    features = np.random.default_rng(2).integers(-96, 256, (50, 49)).astype(np.int16)
    with torch.no_grad():
        out = network(torch.from_numpy(features.astype(np.float32) / 32))
        expected = torch.softmax(out[:, :17], 1)
    active = features.astype(np.int32)
    for number, (weights, bias) in enumerate(checked_layers(network.exported())):
        total = active @ weights.astype(np.int32) + bias
        active = np.clip(total >> (8 if number == 0 else 10), 0, 4095)
    found = softmax((total >> 9)[:, :17]) / 32768
    assert np.abs(found - expected.numpy()).max() < 0.01
    assert np.abs((total[:, 17] >> 9) / 256 - out[:, 17].numpy()).max() < 0.02


@pytest.mark.usefixtures("as_learned")
def test_tiles_are_mixed_in_training_as_the_kernels_mix_them() -> None:
    rng = np.random.default_rng(4)
    torch.manual_seed(2)
    network = Network()
    with torch.no_grad():
        network.layers[-1].weight *= 8
    features = rng.integers(-96, 256, (3, 16, 49)).astype(np.int16)
    shown = np.kron(rng.integers(60, 190, (3, 13, 4, 4)), np.ones((4, 4))).astype(np.float32)
    field = np.zeros((5, 22, 22), np.int16)
    field[4] = rng.integers(0, 32768, (22, 22))
    tiles = np.array([[0, 0], [2, 2], [4, 0]], np.int32)
    share = block_share(field, tiles).reshape(3, 16).astype(np.float32) / 32768
    inputs = features.astype(np.float32) / 32, share, shown
    with torch.no_grad():
        known, *seen = (torch.from_numpy(part) for part in inputs)
        expected = mixed(network(known), *seen).numpy()
    weights, gains = tile_weights(features, field, tiles, checked_layers(network.exported()))
    index = np.full((5, 5), -1, np.int32)
    index[tiles[:, 0], tiles[:, 1]] = np.arange(3)
    found = np.zeros((80, 80), np.uint8)
    brighter = np.sign((expected - shown[:, 0]).sum())
    wanted = int(brighter) << 40  # whatever mixing does to the mean is wanted
    tile_mix(found, (shown * 16).astype(np.int16), weights, gains, tiles, index, None, 8, wanted)
    inner = slice(2, 14)  # beyond it weights fade out, which training leaves out
    for (row, column), tile in zip(tiles, expected, strict=True):
        drawn = found[16 * row :, 16 * column :][inner, inner]
        assert np.abs(drawn - np.clip(tile[inner, inner], 0, 255)).max() <= 2


def test_a_choice_that_is_made_alone_is_what_the_tile_shows() -> None:
    rng = np.random.default_rng(4)
    shown = torch.from_numpy(rng.uniform(0, 255, (1, 13, 16, 16)).astype(np.float32))
    share = torch.full((1, 16), 0.375)
    pictures = chosen(share, shown)
    assert pictures.shape == (1, 17, 16, 16)
    for number in range(17):
        out = torch.zeros(16, 18)
        out[:, number] = 100
        torch.testing.assert_close(mixed(out, share, shown)[0], pictures[0, number])


def test_choices_are_led_to_those_that_are_nearest_to_the_truth() -> None:
    squares = torch.full((2 * 17, 4, 4), 900.0)
    squares[5], squares[17 + 9] = 1.0, 1.0
    logits = torch.zeros(32, 17, requires_grad=True)
    even = unlike_nearest(logits, squares)
    even.backward()
    assert logits.grad is not None
    np.testing.assert_array_equal(logits.grad[:16].argmin(1), 5)
    np.testing.assert_array_equal(logits.grad[16:].argmin(1), 9)
    made = torch.zeros(32, 17)
    made[:16, 5], made[16:, 9] = 8, 8
    assert unlike_nearest(made, squares) < even


def test_time_runs_backwards_and_forwards_again() -> None:
    features = np.arange(98, dtype=np.float32).reshape(2, 49)
    np.testing.assert_array_equal(reversed_features(reversed_features(features)), features)
    order = reversed_order()
    np.testing.assert_array_equal(order[order], np.arange(13))
