"""The nodes of ComfyUI against stand-ins for what they use of it: the contract, frames, memory."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.tools import ROOT, ltxfilter, make_clip, run_pipe, samples

from ltxfilter.adapters import comfyui
from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions


class Interrupt(BaseException):
    pass


class Host(SimpleNamespace):
    """What the nodes use of ComfyUI, and what they did with it."""

    shown: list[tuple[int, int]]
    stop_at: int


class VideoFromFile:
    def __init__(self, file: Any, start: float = 0.0, duration: float = 0.0) -> None:
        self.file, self.window = file, (start, duration)

    def get_stream_source(self) -> Any:
        return self.file

    def get_active_trim_window(self) -> tuple[float, float]:
        return self.window


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    found = Host(shown=[], stop_at=10**9, temp=tmp_path / "temp")

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total = total

        def update_absolute(self, value: int, total: int | None = None) -> None:
            found.shown.append((value, total or self.total))

    def throw_exception_if_processing_interrupted() -> None:
        if len(found.shown) >= found.stop_at:
            raise Interrupt

    def get_full_path(folder: str, name: str) -> str | None:
        if folder not in ("vae", "loras"):
            raise KeyError(folder)
        return f"/models/{folder}/{name}" if name.endswith(".safetensors") else None

    modules: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {
            "throw_exception_if_processing_interrupted": throw_exception_if_processing_interrupted
        },
        "folder_paths": {
            "get_temp_directory": lambda: str(found.temp),
            "get_full_path": get_full_path,
        },
        "comfy_api": {},
        "comfy_api.latest": {"InputImpl": SimpleNamespace(VideoFromFile=VideoFromFile)},
    }
    for name, contents in modules.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    return found


def nodes() -> dict[str, Any]:
    """Return the nodes as ComfyUI finds them in the folder that users copy."""
    place = ROOT / "examples" / "comfyui" / "ltxfilter_nodes" / "__init__.py"
    spec = importlib.util.spec_from_file_location("custom_nodes_ltxfilter", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.NODE_CLASS_MAPPINGS
    assert module.NODE_DISPLAY_NAME_MAPPINGS.keys() == found.keys()
    return found


def how(**inputs: Any) -> dict[str, Any]:
    """Return the inputs of a node, by name, as ComfyUI gives them."""
    return {"fps_out": "2x", "engine": "flow", "cuts": True, "repeats": "report", **inputs}


WIDGETS = {"STRING": str, "INT": int, "FLOAT": float, "BOOLEAN": bool}


@pytest.mark.parametrize("name", comfyui.NODE_CLASS_MAPPINGS)
def test_nodes_keep_to_the_contract(name: str):
    kind = nodes()[name]
    inputs = kind.INPUT_TYPES()
    assert set(inputs) <= {"required", "optional", "hidden"}
    for key, (of, *rest) in ((k, v) for group in inputs.values() for k, v in group.items()):
        assert key.isidentifier()
        options = rest[0] if rest else {}
        assert set(options) <= {"default", "min", "max", "step", "tooltip"}
        assert isinstance(of, list) or isinstance(
            options.get("default", WIDGETS.get(of, str)()), WIDGETS.get(of, object)
        )
    assert callable(getattr(kind, kind.FUNCTION))
    assert len(kind.RETURN_TYPES) == len(kind.RETURN_NAMES)
    assert isinstance(kind.CATEGORY, str)


def test_files_are_named_as_comfyui_names_them(host: Host, tmp_path: Path):
    kind = nodes()["LtxfilterModels"]
    assert set(kind.INPUT_TYPES()["optional"]) == {field.name for field in fields(ModelOptions)}
    here = tmp_path / "own.safetensors"
    here.touch()
    (models,) = kind().named(
        vae=" ltx.safetensors ",
        checkpoint=str(here),
        loras="a.safetensors:0.5, b.safetensors",
        prompt="a boat",
        onnx_model="rife.onnx",
        context="",
    )
    assert models == ModelOptions(
        vae="/models/vae/ltx.safetensors",
        checkpoint=str(here),
        loras=(("/models/loras/a.safetensors", 0.5), ("/models/loras/b.safetensors", 1.0)),
        prompt="a boat",
        onnx_model="rife.onnx",
    )


def images(count: int) -> Any:
    torch = pytest.importorskip("torch")
    noise = np.random.default_rng(1).integers(0, 255, (12, 20, 3), np.uint8)
    wide = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    moved = [wide[:, 32 - 2 * n :][:, :96] for n in range(count)]
    return torch.from_numpy(np.stack(moved)).float() / 255


def md5s(data: bytes, size: int) -> list[str]:
    return [hashlib.md5(data[at : at + size]).hexdigest() for at in range(0, len(data), size)]


@pytest.mark.parametrize(("fps_out", "rate"), [("2x", 48.0), ("60", 60.0)])
def test_images_are_those_of_the_command_line(host: Host, fps_out: str, rate: float):
    given = images(10)
    node = nodes()["LtxfilterInterpolateImages"]()
    out, fps = node.interpolated(**how(images=given, fps_in=24.0, fps_out=fps_out, engine="flow"))
    assert fps == rate
    assert out.dtype == given.dtype
    assert out[0].equal(given[0])
    assert host.shown[-1] == (len(out), len(out))

    def codes(batch: Any) -> bytes:
        return np.rint(batch.numpy() * np.float32(65535)).astype("<u2").tobytes()

    rgb48 = ["-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", "96x96", "-r", 24]
    command = ltxfilter(
        *rgb48, "-i", "-", "--fps", fps_out, "--engine", "flow", "-f", "rawvideo", "-"
    )
    line = run_pipe(command, stdin=codes(given))
    assert line.codes == [0], line.err
    assert md5s(codes(out), 96 * 96 * 6) == md5s(line.out, 96 * 96 * 6)
    assert len(out) == len(line.out) // (96 * 96 * 6) > 19


def test_images_stop_where_the_user_stops_them(host: Host):
    host.stop_at = 3
    node = nodes()["LtxfilterInterpolateImages"]()
    with pytest.raises(Interrupt):
        node.interpolated(**how(images=images(10), fps_in=24.0, fps_out="2x", engine="hold"))
    assert len(host.shown) == 3
    with pytest.raises(OptionError, match="source"):
        node.interpolated(**how(images=images(3), fps_in=24.0, fps_out="source", engine="hold"))


@pytest.mark.parametrize("fps_out", ["2x", "60"])
def test_a_video_has_the_frames_of_the_command_line(host: Host, tmp_path: Path, fps_out: str):
    clip = make_clip(tmp_path / "a.mkv", "-c:v", "libx264", rate="24")
    node = nodes()["LtxfilterInterpolateVideo"]()
    (out,) = node.interpolated(**how(video=VideoFromFile(str(clip)), fps_out=fps_out, codec="ffv1"))
    assert Path(out.file).parent == host.temp
    assert Path(out.file).suffix == ".mkv"
    line = tmp_path / "line.mkv"
    flow = ["--engine", "flow", "-c:v", "ffv1", line]
    assert run_pipe(ltxfilter("-i", clip, "--fps", fps_out, *flow)).codes == [0]
    size = 64 * 48 * 3 // 2
    found = md5s(samples(Path(out.file)), size)
    assert found == md5s(samples(line), size)
    assert len(found) == {"2x": 48, "60": 60}[fps_out]


def test_a_video_in_memory_and_a_part_of_one(host: Host, tmp_path: Path):
    clip = make_clip(tmp_path / "a.mp4", "-c:v", "libx264", seconds=2)
    node = nodes()["LtxfilterInterpolateVideo"]()
    source = VideoFromFile(io.BytesIO(clip.read_bytes()), 0.5, 1.0)
    (out,) = node.interpolated(**how(video=source, engine="hold", crf=30))
    assert len(samples(Path(out.file))) == 50 * 64 * 48 * 3 // 2
    assert [path.name for path in host.temp.iterdir()] == [Path(out.file).name]


def test_a_video_that_is_stopped_leaves_nothing(host: Host, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr("ltxfilter.pipeline.run.REPORT_SECONDS", 0.0)
    clip = make_clip(tmp_path / "a.mp4", "-c:v", "libx264")
    host.stop_at = 5
    node = nodes()["LtxfilterInterpolateVideo"]()
    with pytest.raises(Interrupt):
        node.interpolated(**how(video=VideoFromFile(str(clip))))
    assert [value for value, _ in host.shown] == [1, 2, 3, 4, 5]
    assert {total for _, total in host.shown} == {50}
    assert list(host.temp.iterdir()) == []


RESIDENT = """
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
sizes = []
class Bar:
    def __init__(self, total): pass
    def update_absolute(self, value, total):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append((value, pages * 4096))
for name, contents in {
    "comfy": {}, "comfy.utils": {"ProgressBar": Bar},
    "comfy.model_management": {"throw_exception_if_processing_interrupted": lambda: None},
    "folder_paths": {"get_temp_directory": lambda: sys.argv[2]},
    "comfy_api": {},
    "comfy_api.latest": {"InputImpl": SimpleNamespace(VideoFromFile=lambda file: file)},
}.items():
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(contents)
from ltxfilter.adapters.comfyui import LtxfilterInterpolateVideo
video = SimpleNamespace(get_stream_source=lambda: sys.argv[1])
LtxfilterInterpolateVideo().interpolated(
    video=video, fps_out="2x", engine="flow", cuts=True, repeats="report", codec="mpeg4"
)
early = max(size for frames, size in sizes if frames < 800)
late = max(size for frames, size in sizes if frames >= 800)
print(sizes[-1][0], early, late)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_video_takes_no_more_memory(tmp_path: Path, capfd: Any):
    clip = make_clip(tmp_path / "a.mkv", "-c:v", "mpeg4", size="320x180", seconds=41)
    command = [sys.executable, "-c", RESIDENT, clip, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    frames, early, late = map(int, done.stdout.split())
    assert frames > 1900
    assert late < early + (8 << 20)  # 2,000 frames as images of ComfyUI are 1.3 GB
