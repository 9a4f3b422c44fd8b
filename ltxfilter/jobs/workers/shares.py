"""How many workers a job has, and what each of them may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ltxfilter.errors import OptionError
from ltxfilter.options import Options, available_threads
from ltxfilter.pipeline.memory import BASE_BYTES
from ltxfilter.values import MIB

CORES_PER_WORKER = 4  # below which one process uses them about as well
FEWEST_SEGMENTS = 3  # of a worker; with fewer the last ones wait for each other


def worker_count(options: Options, segments: int) -> int:
    """Return how many workers a job of so many segments has; 0 if a plain run is as fast.

    One worker serves `--resume` alone: it makes what is kept.
    """
    asked = options.job.workers
    if asked:
        return min(asked, segments)
    devices = device_names(options)
    if len(devices) > 1:
        return min(len(devices), segments)
    count = min(available_threads() // CORES_PER_WORKER, segments // FEWEST_SEGMENTS)
    if options.job.resume == "no" and asked == 0 and count < 2:
        return 0
    return max(count, 1) if asked == 0 else 1


def shared_out(options: Options, count: int, own_bytes: int) -> list[Options]:
    """Return the options of each of `count` workers.

    own_bytes: of memory that the job itself uses. Raises OptionError if memory does not suffice.
    """
    devices = device_names(options)
    memory = None
    if options.memory is not None:
        memory = (options.memory - own_bytes) // count
        if memory < BASE_BYTES:
            raise OptionError(
                f"--memory {options.memory // MIB}M is too little for {count} workers: this "
                f"process takes {own_bytes // MIB} MB itself; give more, or fewer --workers"
            )
    return [
        replace(
            options,
            input=replace(options.input, threads=options.input.threads or _decoders(count)),
            models=replace(options.models, device=_device(devices, number)),
            threads=max(options.threads // count, 1),
            memory=memory,
        )
        for number in range(count)
    ]


def device_names(options: Options) -> list[str]:
    """Return the devices that `--device` names, separated by commas."""
    return (options.models.device or "").split(",")


def _device(devices: Sequence[str], number: int) -> str | None:
    return devices[number % len(devices)] or None


def _decoders(count: int) -> int | None:
    """Return the threads that decode in each of several workers; None leaves it to one."""
    return None if count == 1 else max(available_threads() // count, 1)
