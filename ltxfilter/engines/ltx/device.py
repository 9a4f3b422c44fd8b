"""What runs the models: a GPU or the CPU, and whether it can hold them."""

from __future__ import annotations

import torch

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.values import MIB

TORCH_BYTES = {  # on a CPU measured, beside a GPU what is usual for a context
    "cpu": 400 * MIB,
    "cuda": 1500 * MIB,
}
FOR_TEXT = 4  # what is free on a GPU, divided by this, is for the text's keys and values


def choose_device(name: str | None) -> torch.device:
    """Return the device called `name`; None and "auto" are the first GPU if any. Raises."""
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise EngineUnavailableError(
            f"--device {name}: {reason}; write auto, cpu or cuda:N"
        ) from None
    return device


def check_memory(needed: int, free: int, device: torch.device, mode: str) -> None:
    """Refuse to load what the device cannot hold. Raises EngineUnavailableError.

    mode: how the transformer would be kept; "" if it is not among what is loaded.
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
    """Return how much of the host's memory torch itself takes."""
    return TORCH_BYTES["cpu" if device.type == "cpu" else "cuda"]


def text_bytes(billions: float, device: torch.device) -> int:
    """Return how many bytes the text's keys and values may take, asked for in billions.

    Below 0 it is a share of what is free on a GPU, and nothing on a CPU.
    """
    if billions >= 0:
        return int(billions * 1e9)
    return torch.cuda.mem_get_info(device)[0] // FOR_TEXT if device.type == "cuda" else 0
