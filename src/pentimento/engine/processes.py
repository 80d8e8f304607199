"""The processes of a run: how they start, agree and share; and where the networks live."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from pentimento.engine.data import as_float32
from pentimento.engine.settings import Settings
from pentimento.engine.system import System


def launch(settings: Settings) -> Fabric:
    """Start or join the processes of a run; under `torchrun` its numbers win over `devices`."""
    devices, nodes = settings.devices, 1
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


@contextlib.contextmanager
def placed(fabric: Fabric, system: System[Any]) -> Iterator[None]:
    """Have the networks on the device, equal in all processes, in training mode and precision.

    A network that no optimizer owns (a parser used as a loss) is frozen, its statistics too.
    """
    trained = {key for spec in system.optimizers.values() for key in spec.networks}
    deterministic = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    for name, network in system.networks.items():
        network.to(fabric.device)
        network.train(name in trained)
        if name not in trained:
            network.requires_grad_(False)
        _autocast(fabric, network)
    if fabric.world_size > 1:
        for network in system.networks.values():
            for tensor in network.state_dict().values():
                torch.distributed.broadcast(tensor, 0)
    if fabric.device.type == "cpu":  # where bit-equal runs are promised, with any thread count
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # only costs time
    try:
        yield
    finally:
        for network in system.networks.values():
            network.__dict__.pop("forward", None)
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = filled


def _autocast(fabric: Fabric, network: nn.Module) -> None:
    """Run a network's forward in the run's precision; what it returns is float32 again.

    Fabric's own wrapper is not used: it refuses frozen dataclasses as outputs and hides the
    network's type.
    """
    forward = network.forward

    def reduced(*args: Any, **kwargs: Any) -> Any:
        with fabric.autocast():
            return as_float32(forward(*args, **kwargs))

    network.forward = reduced  # removed again by `placed`


def any_rank(fabric: Fabric, here: bool) -> bool:
    """Return whether it is so in any process; every process gets the same answer."""
    if fabric.world_size == 1:
        return here
    flag = torch.tensor(float(here), device=fabric.device)
    torch.distributed.all_reduce(flag)
    return bool(flag > 0)


def gather(fabric: Fabric, data: bytes) -> list[bytes]:
    """Return every process's bytes, in every process; they travel as a tensor, not as a pickle."""
    world = fabric.world_size
    if world == 1:
        return [data]
    sizes = [torch.zeros(1, dtype=torch.int64, device=fabric.device) for _ in range(world)]
    torch.distributed.all_gather(sizes, sizes[0].new_tensor([len(data)]))
    padded = torch.zeros(int(torch.cat(sizes).max()), dtype=torch.uint8, device=fabric.device)
    padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    rows = [torch.empty_like(padded) for _ in range(world)]
    torch.distributed.all_gather(rows, padded)
    return [row[: int(size)].cpu().numpy().tobytes() for row, size in zip(rows, sizes, strict=True)]


def share_buffers(fabric: Fabric, networks: nn.ModuleDict) -> None:
    """Give every process the buffers of the first, which are the ones that are saved."""
    if fabric.world_size > 1:
        for buffer in networks.buffers():
            torch.distributed.broadcast(buffer, 0)


@contextlib.contextmanager
def stop_signal() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list that the loop looks at; a second Ctrl-C is final."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
