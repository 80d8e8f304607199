"""What a run tells: `metrics.jsonl`, TensorBoard, sample sheets, and a line on the terminal."""

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


class Log:
    """The log of one run, continued at `step`; silent where `run` is None (other ranks)."""

    def __init__(self, run: Path | None, *, step: int, steps: int) -> None:
        self._run, self._steps = run, steps
        self._started, self._first = time.perf_counter(), step
        self._tick = (self._started, step)
        self._sums: dict[str, tuple[Tensor, int]] = {}
        if run is None:
            return
        self._metrics = run / "metrics.jsonl"
        _forget_after(self._metrics, step)
        from torch.utils.tensorboard import SummaryWriter  # a second of import; one rank needs it

        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Collect one batch's terms; `train` logs their mean (over this process's batches)."""
        for name, value in terms.items():
            total, times = self._sums.get(name, (torch.zeros((), device=value.device), 0))
            self._sums[name] = (total + value.detach().float(), times + 1)

    def train(self, step: int, samples_per_step: int, **counts: int) -> None:
        """Write the means since the last call, the speed and the time that is left."""
        means = {name: float(total) / times for name, (total, times) in self._sums.items()}
        self._sums.clear()
        now, (before, at) = time.perf_counter(), self._tick
        self._tick = (now, step)
        speed = samples_per_step * (step - at) / max(now - before, 1e-9)
        left = (now - self._started) / max(step - self._first, 1) * (self._steps - step)
        self.write(step, "train", {**means, "samples_per_s": speed, **counts})
        shown = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        counted = "".join(f"  {name} {value}" for name, value in counts.items() if value)
        self.say(
            f"step {step}/{self._steps}  {speed:.3g} samples/s  ETA {duration(left)}  "
            f"{shown}{counted}"
        )

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Append one line to `metrics.jsonl` and the values to TensorBoard."""
        if self._run is None:
            return
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self._metrics.open("a") as file:
            file.write(json.dumps({"step": step, "kind": kind, **known}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def sheet(self, step: int, sheet: Tensor) -> None:
        """Save a (rows, columns, 3, H, W) sheet in [0, 1] as `samples/step_XXXXXXXX.png`."""
        if self._run is None:
            return
        folder = self._run / "samples"
        folder.mkdir(exist_ok=True)
        rows, columns, channels, height, width = sheet.shape
        flat = sheet.detach().float().cpu().permute(0, 3, 1, 4, 2)  # (rows, H, columns, W, 3)
        pixels = flat.reshape(rows * height, columns * width, channels).clamp(0, 1)
        Image.fromarray((pixels * 255).round().byte().numpy()).save(folder / f"step_{step:08d}.png")

    def say(self, *messages: str | None) -> None:
        """Tell the person at the terminal, a line for each message that is not empty."""
        if self._run is not None:
            sys.stderr.writelines(f"{message}\n" for message in messages if message)
            sys.stderr.flush()

    def close(self) -> None:
        """Write out what is still held back."""
        if self._run is not None:
            self._board.close()


def duration(seconds: float) -> str:
    """Format a time span as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _forget_after(path: Path, step: int) -> None:
    """Drop lines of later steps, which a resumed run writes anew, and a torn last line."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:
            continue
    path.write_text("".join(line + "\n" for line in kept))
