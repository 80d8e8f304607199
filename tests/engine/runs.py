"""Training in processes of its own, which can really be killed.

A fork server imports torch once; each run is a fork of it, so it starts in a fraction of a second.
"""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The fork server is a fresh interpreter; it must find what this one finds.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["engine.toy", "pentimento.engine.loop", "torch.utils.tensorboard"])
_LIMIT_S = 120


@dataclass(frozen=True)
class Ended:
    """Exit status of each rank (negative: the signal) and what they said."""

    status: tuple[int | None, ...]
    said: str


def train(
    *arguments: object, ranks: int = 1, kill_rank: int | None = None, **switches: object
) -> Ended:
    """Run `pentimento train …` with the toy system; switches are environment variables.

    `kill_write=N` kills the process in the middle of its N-th file.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = str(Path(str(arguments[-1])).parent / f"said_{port}_")
    processes = []
    for rank in range(ranks):
        environment = {key.upper(): str(value) for key, value in switches.items()}
        if kill_rank is not None and rank != kill_rank:
            environment.pop("TOY_KILL_AT", None)
        if ranks > 1:  # as torchrun sets them
            environment |= {
                "TORCHELASTIC_RUN_ID": "test",
                "GROUP_RANK": "0",
                "LOCAL_RANK": str(rank),
                "RANK": str(rank),
                "LOCAL_WORLD_SIZE": str(ranks),
                "WORLD_SIZE": str(ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        command = ["train", *map(str, arguments)]
        arguments_of_rank = command, environment, f"{output}{rank}"
        process = _SERVER.Process(target=_enter, args=arguments_of_rank)
        process.start()
        processes.append(process)
    for process in processes:
        process.join(_LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
    said = "".join(Path(f"{output}{rank}").read_text() for rank in range(ranks))
    return Ended(tuple(process.exitcode for process in processes), said)


def _enter(command: Sequence[str], environment: dict[str, str], output: str) -> None:
    os.setsid()  # apart from the test's group, so that a signal hits nothing else
    os.environ.update(environment)
    handle = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = ["pentimento", *command]
    multiprocessing.set_start_method("fork", force=True)
    from engine import toy
    from pentimento.cli import main
    from pentimento.engine import storage

    toy.register()
    whole, count = storage.write, 0

    def write(path: Path, data: bytes) -> None:
        nonlocal count
        count += 1
        if str(count) == os.environ.get("KILL_WRITE"):
            path.write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        whole(path, data)

    storage.write = write
    main()


def bits(run: Path) -> dict[str, bytes]:
    """Return what must be equal after a run: the model and the state of its last checkpoint."""
    last = max((run / "checkpoints").glob("step_*"))
    files = [run / "model.safetensors", last / "progress.json", *last.glob("*.safetensors")]
    return {f"{last.name}/{path.name}": path.read_bytes() for path in files}
