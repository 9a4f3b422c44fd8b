"""What runs the models: a GPU or the CPU, and whether it can hold them."""

from __future__ import annotations

import torch

from ltxfilter.errors import EngineUnavailableError


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
