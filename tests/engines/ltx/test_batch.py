"""Batches: the same pictures as one by one, and each keyframe encoded once."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.ltx import drawings, equal, windows
from support.pictures import moving, video

from ltxfilter import engines
from ltxfilter.engines.ltx.diffusion.keyframe_cache import KeyframeCache
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import EngineError
from ltxfilter.frame import Frame

ENGINES = ["ltx-keyframe", "ltx-temporal"]
EVERY = pytest.mark.parametrize("name", ENGINES)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


def pictures(spec, models, info, frames, rate=F(50)):
    """Return the planes that are drawn for each slot, by the slot's index."""
    return {
        slot.index: picture.planes
        for window, drawn in drawings(spec, models, info, frames, rate)
        for slot, picture in zip(window.to_draw(), drawn, strict=True)
    }


def farthest(one, other):
    """Return the largest difference of any sample."""
    assert one.keys() == other.keys()
    return max(
        int(np.abs(a.astype(np.int64) - b).max())
        for slot in one
        for a, b in zip(one[slot], other[slot], strict=True)
    )


@pytest.mark.parametrize(
    ("spec", "rate"),
    [
        ("ltx-keyframe", F(50)),
        ("ltx-keyframe:lead=2:latents=2:steps=2:refine=1", F(60)),
        ("ltx-keyframe:stages=1:mode=guided:cfg=1:steps=3:sampler=ancestral:strength=0.9", F(50)),
        ("ltx-temporal", F(50)),
        ("ltx-temporal:latents=2:refine=2", F(50)),
    ],
)
def test_pictures_do_not_depend_on_the_batch_size(models, spec, rate):
    info = video("gbrp16le", 64, 64)
    frames = moving(info, 34)
    alone = pictures(spec, models, info, frames, rate)
    together = pictures(f"{spec}:batch=3", models, info, frames, rate)
    assert farthest(alone, together) <= 3  # of 65535: float32 rounds differently by size
    assert len(alone) >= 33


@EVERY
def test_a_segment_from_a_reset_point_gives_the_same_pictures(models, name):
    info = video(width=32, height=32)
    frames = moving(info, 280)
    spec = f"{name}:batch=3" + ":steps=2:refine=1" * (name == "ltx-keyframe")
    whole, part = (pictures(spec, models, info, given) for given in (frames, frames[250:]))
    late = [planes for slot, planes in whole.items() if slot >= 500]
    assert len(late) == len(part) == 29
    assert all(equal(a, b) for a, b in zip(late, part.values(), strict=True))


@EVERY
def test_the_models_run_once_for_a_batch(models, name, monkeypatch):
    info = video(width=32, height=32)
    decoded = []
    decode = Models.decode

    def counted(self, latents):
        decoded.append(len(latents))
        return decode(self, latents)

    monkeypatch.setattr(Models, "decode", counted)
    spec = f"{name}:batch=3" + ":stages=1:steps=1" * (name == "ltx-keyframe")
    pictures(spec, models, info, moving(info, 73))
    full, rest = divmod(72, 3 * {"ltx-keyframe": 8, "ltx-temporal": 16}[name])
    assert decoded == [3] * (full + bool(rest))  # the last batch is filled up


def test_irregular_times_are_batched_if_their_conditioning_is_alike(models):
    info = video("gbrp16le", 32, 32)
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([1001, 1502, 2002], 40))
    frames = [
        Frame(F(int(time), 30000), frame.planes)
        for time, frame in zip(times, moving(info, 40), strict=True)
    ]
    alone = pictures("ltx-keyframe:stages=1", models, info, frames)
    assert farthest(alone, pictures("ltx-keyframe:stages=1:batch=4", models, info, frames)) <= 3


@pytest.mark.parametrize("batch", [1, 3])
def test_a_keyframe_is_encoded_once_for_all_windows(models, monkeypatch, batch):
    info = video(width=32, height=32)
    frames = moving(info, 41)
    encoded = []
    encode = Models.encode

    def counted(self, pixels):
        encoded.append(pixels.shape)
        return encode(self, pixels)

    monkeypatch.setattr(Models, "encode", counted)
    engine = engines.build(f"ltx-keyframe:batch={batch}", models)
    shape = engine.open(info, F(50))
    for window in windows(frames, shape):
        list(engine.draw(window, engine.prepare(window)))
    assert len(encoded) == 2 * 41  # at half size and at full size
    engine.close()


def test_cached_latents_are_dropped_with_their_frames():
    cache = KeyframeCache(lambda pixels: pixels.mean((3, 4), keepdim=True))
    frames = [Frame(F(n), (np.full((4, 4), n, np.uint8),)) for n in range(3)]
    for _ in range(2):
        for frame in frames:
            value = torch.full((3, 4, 4), float(frame.planes[0][0, 0]))
            found = cache.latent(frame, lambda value=value: value)
            assert float(found.mean()) == frame.planes[0][0, 0]
    assert len(cache) == 3
    cache.latent(frames[0], lambda: torch.zeros(3, 2, 2), "half")
    assert len(cache) == 4
    del frame, frames
    gc.collect()
    assert not len(cache)


def test_memory_grows_with_the_batch(models):
    info = video(width=128, height=96)
    sizes = []
    for batch in (1, 4):
        engine = engines.build(f"ltx-keyframe:batch={batch}", models)
        sizes.append(engine.open(info, F(50)))
        engine.close()
    assert sizes[1].draw_bytes == 4 * sizes[0].draw_bytes
    assert sizes[1].work_bytes > sizes[0].work_bytes
    assert sizes[1].model_bytes == sizes[0].model_bytes > 0
    assert sizes[1].keyframes == 4 * (sizes[0].keyframes - 1) + 1


@pytest.mark.parametrize("name", ["ltx-keyframe:stages=1:steps=2", "ltx-temporal:refine=1"])
def test_a_prompt_is_used_from_its_time_on(models, tmp_path, name):
    """The clock does not begin at zero; the second of two prompts begins at 1 s."""
    one, two = (torch.randn(1, tiny_ltx.TOKENS, tiny_ltx.WIDTH) for _ in range(2))

    def drawn(spec, tensor, times):
        path = tmp_path / f"{len(tensor)}.safetensors"
        tiny_ltx.write(
            path, {"video_context": tensor}, {"prompts": json.dumps([[t, t] for t in times])}
        )
        files = replace(models, context=str(path))
        return pictures(spec, files, info, frames)

    info = video("gbrp16le", 32, 32)
    frames = [replace(frame, time=frame.time + 3601) for frame in moving(info, 42)]
    first, second = drawn(name, one, ["0"]), drawn(name, two, ["0"])
    both = drawn(name, torch.cat([one, two]), ["0", "1"])
    together = drawn(f"{name}:batch=3", torch.cat([one, two]), ["0", "1"])
    assert farthest(both, together) <= 3
    changed = [slot for slot, planes in both.items() if not equal(planes, first[slot])]
    assert changed == [slot for slot in both if equal(both[slot], second[slot])]
    assert 50 <= min(changed) < 50 + 32  # the first window that begins at 1 s or later
    assert set(changed) == {slot for slot in both if slot >= min(changed)}


def test_cached_text_is_dropped_if_memory_runs_out(models, monkeypatch, caplog):
    """The pictures are the same, and it is tried once."""
    info = video(width=64, height=64)
    frames = moving(info, 26)
    spec = "ltx-keyframe:stages=1:steps=2:text_memory=0.1"
    expected = pictures(spec, models, info, frames)
    decode, calls = Models.decode, []

    def scarce(self, latents):
        calls.append(self._transformer("transformer").text.nbytes)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return decode(self, latents)

    monkeypatch.setattr(Models, "decode", scarce)
    assert farthest(expected, pictures(spec, models, info, frames)) == 0
    assert len(calls) == 5
    assert calls[0] == calls[1] > 0
    assert not any(calls[2:])
    assert [record.message for record in caplog.records if "memory is short" in record.message]
    monkeypatch.setattr(
        Models, "decode", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError())
    )
    with pytest.raises(EngineError, match="text_memory=0"):
        pictures(spec, models, info, frames)
