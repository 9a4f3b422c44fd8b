"""The device that runs the models, a GPU or the CPU, and whether its memory is enough."""

from __future__ import annotations

import logging

import torch

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.values import MIB

log = logging.getLogger("ltxfilter.engines")

BFLOAT16_CAPABILITY = (8, 0)  # CUDA compute capability of the first GPUs that compute in bfloat16
TORCH_BYTES = {  # host bytes that torch takes: measured on a CPU, the usual size of a CUDA context
    "cpu": 400 * MIB,
    "cuda": 1500 * MIB,
}
TEXT_DIVISOR = 4  # a GPU's free memory divided by it is the cache of the text, unless the user says


def choose_device(name: str | None) -> torch.device:
    """Return the device called `name`, such as "cpu" or "cuda:1".

    None and "auto" are the first GPU, or the CPU if there is none. Raises EngineUnavailableError.
    """
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineUnavailableError(f"--device {name}: write auto, cpu or cuda:N") from None
    if reason := _missing(device):
        raise EngineUnavailableError(f"--device {name}: {reason}; write auto, cpu or cuda:N")
    return device


def _missing(device: torch.device) -> str | None:
    """Return why models cannot run on a device, in a few words, or None."""
    if device.type not in ("cpu", "cuda"):
        return f"models run on CPUs and on CUDA GPUs, not on {device.type}"
    if device.type == "cuda" and not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} CUDA devices, counted from 0"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0]
    return None


def computed_in(device: torch.device) -> torch.dtype:
    """Return the dtype that models compute in on a device.

    A GPU before Ampere takes bfloat16 and computes in it by way of float32, operation by operation,
    and without the kernels that attention needs.
    """
    if device.type == "cpu":
        return torch.float32
    if torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY:
        return torch.bfloat16
    log.warning(
        "%s computes in 32 bits, since it is older than bfloat16: models take twice the memory",
        torch.cuda.get_device_name(device),
    )
    return torch.float32


def check_memory(needed: int, free: int, device: torch.device, mode: str) -> None:
    """Refuse to load models that the device cannot hold. Raises EngineUnavailableError.

    needed, free: bytes. mode: how the transformer's weights are stored, "off", "rowwise" or "cast";
    "" if it is not among the models or is offloaded already.
    """
    if needed <= free:
        return
    hint = "another --device"
    if mode:
        hint = "offload=1, which keeps the transformer in host memory, or " + hint
    if mode == "off":
        hint = "fp8=rowwise or fp8=cast, which halve the transformer, " + hint
    raise EngineUnavailableError(
        f"{device} has {free / 1e9:.1f} GB free and the models take {needed / 1e9:.1f} GB; "
        f"choose {hint}"
    )


def torch_bytes(device: torch.device) -> int:
    """Return the bytes of host memory that torch itself takes."""
    return TORCH_BYTES["cpu" if device.type == "cpu" else "cuda"]


def text_bytes(gigabytes: float, device: torch.device) -> int:
    """Return the bytes of device memory for the cache of the text's keys and values.

    gigabytes: billions of bytes; below 0 a quarter of a GPU's free memory, and nothing on a CPU.
    """
    if gigabytes >= 0:
        return int(gigabytes * 1e9)
    return torch.cuda.mem_get_info(device)[0] // TEXT_DIVISOR if device.type == "cuda" else 0
