"""Which of ONNX Runtime's execution providers runs a network, and with which settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.user_folders import NAME, user_folder

AUTO = "auto"
PROVIDERS = {  # what a user writes -> ONNX Runtime's name; for "auto" the best first
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
BY_ITSELF = ("cuda", "directml", "coreml", "openvino")  # not TensorRT: it prepares for minutes
NUMBERED = ("cuda", "tensorrt", "directml")  # take the number of a device
PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu, and TensorRT",
    "directml": "onnxruntime-directml",
    "coreml": "onnxruntime on macOS",
    "openvino": "onnxruntime-openvino",
}


def choose_provider(asked: str, device: str | None, available: Sequence[str]) -> str:
    """Return the name of the provider to run a network with, a key of PROVIDERS.

    asked: a key of PROVIDERS, or "auto". device: as in `ModelOptions`. available: ONNX Runtime's
    names. Raises EngineUnavailableError.
    """
    if asked != AUTO:
        if PROVIDERS[asked] not in available:
            has = ", ".join(name for name, full in PROVIDERS.items() if full in available)
            raise EngineUnavailableError(
                f"engine onnx: provider={asked}: this ONNX Runtime has {has or 'none of ours'}; "
                f"pip install {PACKAGES.get(asked, 'onnxruntime')} in place of it"
            )
        return asked
    if device == "cpu":
        return "cpu"
    if device and device.startswith("cuda"):
        return choose_provider("cuda", None, available)
    return next((name for name in BY_ITSELF if PROVIDERS[name] in available), "cpu")


def provider_settings(name: str, device: str | None) -> list[tuple[str, dict[str, Any]]]:
    """Return the providers for a session, each with its settings; the CPU takes what is left."""
    settings: dict[str, Any] = {}
    if name in NUMBERED:
        settings["device_id"] = _number(device)
    if name == "cuda":
        settings["cudnn_conv_algo_search"] = "HEURISTIC"  # the same choice in every run
        settings["use_tf32"] = 0  # it rounds to 10 bits
    if name == "tensorrt":
        settings |= _cache_settings()
    chosen = [(PROVIDERS[name], settings)]
    if name == "tensorrt":
        chosen.append((PROVIDERS["cuda"], {"device_id": _number(device)}))
    return chosen if name == "cpu" else [*chosen, (PROVIDERS["cpu"], {})]


def _cache_settings() -> dict[str, Any]:
    """Let TensorRT keep what it prepared in the user's cache, if there is one."""
    folder = user_folder("CACHE")
    if folder is None:
        return {}
    path = folder / NAME / "tensorrt"
    path.mkdir(parents=True, exist_ok=True)
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(path),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(path),
    }


def _number(device: str | None) -> int:
    """Return the number of "cuda:N"; 0 for others."""
    number = (device or "").partition(":")[2]
    return int(number) if number.isdecimal() else 0
