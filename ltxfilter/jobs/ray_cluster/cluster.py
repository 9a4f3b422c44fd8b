"""The way to a Ray cluster, which is joined, or started here, and says nothing of its own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.jobs.ray_cluster.actor import CALLS, Assignment, SegmentActor
from ltxfilter.jobs.ray_cluster.placement import Placement, Resources
from ltxfilter.options import available_threads
from ltxfilter.values import MIB

log = logging.getLogger("ltxfilter.jobs")

AUTO = "auto"
STORE_BYTES = 256 * MIB  # of shared memory for what is under way, where we start Ray
# Ray would count how often it is used, and warn of what its next release does with GPUs.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LISTENING = 5.0  # seconds for a cluster's head to take a connection
MISSING = "--ray needs Ray: install it with pip install 'ltxfilter[ray]'"


class Cluster:
    """A Ray cluster that this process has joined."""

    def __init__(self, address: str) -> None:
        """Join the cluster at `address`; "auto" joins the one that runs here, or starts one.

        A program that has joined a cluster already stays with that. Raises EngineUnavailableError,
        OptionError.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise EngineUnavailableError(MISSING) from error
        self._ray: Any = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            self._join(address)

    def nodes(self) -> list[Resources]:
        """Return the resources of each node."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def start(self, assignment: Assignment, placement: Placement) -> Any:
        """Begin to start an actor; return its handle. It waits where nothing is free."""
        kind = self._ray.remote(SegmentActor).options(
            num_cpus=placement.cpus,
            num_gpus=placement.gpus,
            max_concurrency=CALLS,
            max_restarts=0,  # the pool starts another one
        )
        return kind.remote(assignment)

    def ready(self, calls: Sequence[Any], timeout: float) -> list[Any]:
        """Return the calls that are answered; wait up to `timeout` seconds for one."""
        found, left = self._ray.wait(list(calls), num_returns=1, timeout=timeout)
        if found and left:
            found += self._ray.wait(left, num_returns=len(left), timeout=0)[0]
        return list(found)

    def answer(self, call: Any) -> Any:
        """Return what an answered call says. Raises whatever the actor raised, or Ray."""
        return self._ray.get(call)

    def reason(self, error: Exception, node: str) -> str:
        """Return, in one line, why a call has failed. node: where the actor was."""
        if any(each["NodeID"] == node and not each["Alive"] for each in self._ray.nodes()):
            return "its node is gone"
        lines = [line for line in str(error).splitlines() if line.strip()]
        told = next((line for line in lines if line.startswith("The actor is dead because")), None)
        if told is not None:
            return told.removeprefix("The actor is dead because ").partition(". ")[0].rstrip(".")
        return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"

    def kill(self, actor: Any) -> None:
        """End an actor at once, whatever it does."""
        with suppress(Exception):  # it is gone, or the cluster is
            self._ray.kill(actor)

    def leave(self) -> None:
        """Leave the cluster, and end it if it was started here; calling it twice does nothing."""
        if self._is_ours:
            self._is_ours = False
            self._ray.shutdown()

    def _join(self, address: str) -> None:
        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "configure_logging": False,
            "include_dashboard": False,
        }
        logging.getLogger("ray").setLevel(logging.ERROR)
        if "://" in address:  # of Ray's client, which takes nothing that begins a cluster
            del quiet["include_dashboard"]
        _refuse_silence(address)
        try:
            with _ordinary_signals():
                self._init(None if address == AUTO else address, quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise OptionError(f"--ray {address}: {_in_a_line(error)}") from error
        with suppress(AttributeError, KeyError):  # else the raylet's notices go to standard output
            sys.modules["ray._private.worker"]._worker_logs_enabled = False  # type: ignore[attr-defined]

    def _init(self, address: str | None, quiet: dict[str, Any]) -> None:
        if address is not None:
            self._ray.init(address, **quiet)
            return
        here = {"num_cpus": available_threads(), "object_store_memory": STORE_BYTES}
        try:
            self._ray.init(**here, **quiet)
        except ValueError:  # a cluster runs here, whose resources are what they are
            self._ray.init(**quiet)
        except ConnectionError:  # one has left its address behind
            self._ray.init("local", **here, **quiet)


def _refuse_silence(address: str) -> None:
    """Raise OptionError where nobody listens; Ray would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), LISTENING).close()
    except (OSError, OverflowError) as error:
        raise OptionError(f"--ray {address}: {error}; is the cluster's head there?") from error


@contextmanager
def _ordinary_signals() -> Iterator[None]:
    """Let processes that are started here be ended by signals, which this thread may block."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_a_line(error: BaseException) -> str:
    """Return what an error says; its last line, which is the cause where there are several."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
