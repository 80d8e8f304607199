"""A recorded fixture: its recipe for weights and inputs, and the numbers to reproduce.

Two dialects exist: that of `translation/` and `portrait/` (several `runs`, `f64_maxabsdiff`) and
that of `segmentation/` and `keypoints/` (one run, or `cases`; `f32_noise`). Both become the same
`Fixture` of `Run`s here, so that a counterpart need not know which one it answers.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = dict[str, Tensor]

COMMITTED = Path(__file__).parents[1] / "fixtures" / "parity"
SPECTRAL_STEPS = 5

# Recorded without noise of their own, but read from outputs that have some.
_READ_FROM = {r"final\.chart\d+\.uv": "final.dense.u"}
_UNMEASURED = {"grad_x": 2e-6}  # sums of hundreds of float32 terms


def folder() -> Path:
    """Return the folder of fixtures: the committed one, or that of `PENTIMENTO_PARITY`."""
    return Path(os.environ.get("PENTIMENTO_PARITY", COMMITTED))


def load_all(root: Path) -> list["Fixture"]:
    """Read every fixture below `root`."""
    return [Fixture(path) for path in sorted(root.rglob("*.json"))]


def _generator(seed_string: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(crc32(seed_string.encode())))


@dataclass(frozen=True)
class Record:
    """One recorded output.

    Attributes:
        name: as recorded (`y`, `pre_tanh`, `@path`, `loss/…`, `after/key`, …).
        raw: the JSON entry.
        noise_factor: multiple of the recorded rounding noise that is accepted.
        relative: accepted error relative to `floor` or the largest recorded magnitude.
        floor: smallest magnitude that `relative` refers to.
    """

    name: str
    raw: dict[str, Any]
    noise_factor: float
    relative: float
    floor: float

    @property
    def tolerance(self) -> float:
        """The accepted absolute error: the one dialect takes the larger part, the other the sum."""
        noise = float(self.raw.get("f64_maxabsdiff", self.raw.get("f32_noise", 0.0)))
        extent = max(abs(float(self.raw["min"])), abs(float(self.raw["max"])), self.floor)
        parts = (self.noise_factor * noise, self.relative * extent)
        return sum(parts) if self.floor else max(parts)

    def differences(self, ours: Tensor) -> Iterator[str]:
        """Yield one line for everything in which `ours` is not the recorded output."""
        if list(ours.shape) != self.raw["shape"]:
            yield f"{self.name}: shape {list(ours.shape)}, recorded {self.raw['shape']}"
            return
        if ours.numel() == 0:  # nothing was recorded of nothing
            return
        flat = ours.detach().cpu().numpy().astype(np.float64).ravel()
        recorded = np.array([float(v) for v in self.raw["values"]])
        picked = flat if self.raw.get("complete") else flat[np.arange(64) * (flat.size - 1) // 63]
        tolerance = self.tolerance
        if (finite := flat[np.isfinite(flat)]).size:
            for name in ("mean", "std", "min", "max"):
                value = getattr(finite, name)()
                if not abs(value - self.raw[name]) <= tolerance:
                    yield f"{self.name}: {name} {value:.8g}, recorded {self.raw[name]:.8g}"
        if not np.allclose(picked, recorded, rtol=0, atol=tolerance, equal_nan=True):
            worst = np.nanmax(np.abs(picked - recorded))
            yield f"{self.name}: differs by {worst:.3g}, accepted {tolerance:.3g}"
        if "crc32" in self.raw and crc32(flat.astype(np.uint8).tobytes()) != self.raw["crc32"]:
            yield f"{self.name}: not the recorded map (crc32)"


@dataclass(frozen=True)
class Run:
    """One recorded call.

    Attributes:
        name: name of the run or of the case.
        fixture: the fixture it belongs to.
        mode: `eval`, `batchstats`, `train`, or `-` where no module is run.
        fill: variant of the weight rule, or None where there are no weights.
        fill_check: recorded sum and sum of squares of the filled tensors, or None.
        inputs: recorded inputs, rebuilt.
        rules: inputs that are described in words (name → words).
        params: parameters of an operator's case.
        records: what to reproduce.
    """

    name: str
    fixture: "Fixture"
    mode: str
    fill: str | None
    fill_check: dict[str, float] | None
    inputs: dict[str, Tensor]
    rules: dict[str, str]
    params: dict[str, Any]
    records: tuple[Record, ...]

    def wants(self, name: str) -> bool:
        """Tell whether an output of this name is recorded."""
        return any(record.name == name for record in self.records)


@dataclass(frozen=True)
class Fixture:
    """One file.

    Attributes:
        path: where it was read.
    """

    path: Path
    raw: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", json.loads(self.path.read_text()))

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    @property
    def family(self) -> str:
        return str(self.raw["family"])

    @property
    def constructor(self) -> str:
        """The official constructor call, in words."""
        return str(self.raw.get("constructor", ""))

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return the number after `keyword=` in the constructor's text."""
        found = re.search(rf"\b{re.escape(keyword)}=(-?[\d.]+)", self.constructor)
        if found is None and default is None:
            raise KeyError(f"{self.name}: no {keyword}= in {self.constructor!r}")
        return float(found[1].rstrip(".")) if found else float(default or 0)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Official key → shape, in the official order."""
        return {key: tuple(shape) for key, shape in self.raw.get("state", [])}

    @cached_property
    def untouched(self) -> frozenset[str]:
        """Official keys that keep the value they are built with."""
        rule = self.raw.get("fill", {})
        return frozenset(
            self.raw.get("constants", [])
            + self.raw.get("integer_keys", [])
            + rule.get("untouched", [])
        )

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        raw = self.raw
        if "runs" in raw:
            inputs, rules = self._inputs(raw["inputs"])
            return tuple(
                self._run(r["run"], r.get("mode", "-"), r.get("fill"), inputs, rules, r)
                for r in raw["runs"]
            )
        if "cases" in raw:
            return tuple(
                self._run(c["case"], "-", None, *self._inputs(c["inputs"]), c) for c in raw["cases"]
            )
        if "outputs" not in raw:  # a list of keys only
            return ()
        mode = "train" if self.name.endswith("_train") else "eval"
        fill = f"standard*{raw['fill']['weight_scale']}"
        return (self._run("eval", mode, fill, *self._inputs(raw["inputs"]), raw),)

    def _run(
        self,
        name: str,
        mode: str,
        fill: str | None,
        inputs: dict[str, Tensor],
        rules: dict[str, str],
        raw: dict[str, Any],
    ) -> Run:
        limits = (20.0, 2e-5, 0.0) if "runs" in self.raw else (4.0, 1e-6, 1.0)
        outputs = {o["name"]: o for o in raw["outputs"]}
        noises = {
            name: outputs.get(source, {}).get("f32_noise", 0.0)
            for name, source in _READ_FROM.items()
        } | _UNMEASURED
        for name_pattern, noise in noises.items():
            for key in outputs:
                if re.fullmatch(name_pattern, key):
                    outputs[key] = {"f32_noise": noise, **outputs[key]}
        records = tuple(Record(key, o, *limits) for key, o in outputs.items())
        check, params = raw.get("fill_check"), raw.get("params", {})
        return Run(name, self, mode, fill, check, inputs, rules, params, records)

    def _inputs(self, entries: list[dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, str]]:
        inputs: dict[str, Tensor] = {}
        rules: dict[str, str] = {}
        for entry in entries:
            if entry["kind"] == "rule":
                rules[entry["name"]] = entry["rule"]
                continue
            array = _input(entry)
            if "check" in entry:
                _check_input(f"{self.name}: input {entry['name']}", array, entry["check"])
            inputs[entry["name"]] = torch.from_numpy(array)
        return inputs, rules

    def weights(self, fill: str) -> tuple[State, float, float]:
        """Return the filled official tensors, their sum and their sum of squares."""
        salt = self.raw.get("salt", self.raw.get("fill", {}).get("salt", ""))
        variant, _, after = fill.replace(" (salted per network)", "").partition("+")
        rule, _, gain = variant.partition("*")
        state: State = {}
        total = squares = 0.0
        for key, shape in self.shapes.items():
            if key in self.untouched:
                continue
            filled = _fill(salt + key, key, shape, rule == "unit", float(gain or 1))
            filled *= np.float32(_extra_gain(key, after))
            total += filled.sum(dtype=np.float64)
            squares += np.vdot(filled.astype(np.float64), filled.astype(np.float64))
            state[key] = torch.from_numpy(filled)
        if after == f"spectral{SPECTRAL_STEPS}":
            _power_iterations(state)
        return state, float(total), float(squares)


def _fill(seed: str, key: str, shape: tuple[int, ...], unit: bool, gain: float) -> NDArray[Any]:
    x = np.asarray(_generator(seed).standard_normal(shape))
    if key.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif key.endswith("running_mean"):
        x *= 0.1
    elif key.endswith(("weight_u", "weight_v")):
        x /= np.linalg.norm(x)
    elif x.ndim >= 2:
        x *= gain * (1.0 if unit else np.sqrt(2 / np.prod(shape[1:])))
    elif x.ndim == 1 and key.endswith("weight"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return x.astype(np.float32)


def _extra_gain(key: str, after: str) -> float:
    if after == "style*100" and re.fullmatch(r"style\..*\.weight", key):
        return 100.0
    modulates = r".*\.modulation\.weight|SpatialCodeModulation\.(scale|bias)\.weight"
    if after == "modulation*30" and re.fullmatch(modulates, key):
        return 30.0
    return 1.0


def _power_iterations(state: State) -> None:
    for key in [k for k in state if k.endswith("weight_orig")]:
        prefix = key.removesuffix("orig")
        matrix = state[key].double().flatten(1)
        u = state[prefix + "u"].double()
        for _ in range(SPECTRAL_STEPS):
            v = matrix.T @ u
            v /= v.norm()
            u = matrix @ v
            u /= u.norm()
        state[prefix + "u"], state[prefix + "v"] = u.float(), v.float()


def _input(entry: dict[str, Any]) -> NDArray[Any]:
    kind, shape = entry["kind"], tuple(entry["shape"])
    if kind == "literal":
        return np.array(entry["values"], entry["dtype"]).reshape(shape)
    rng = _generator(entry["seed_string"])
    dtype = entry.get("dtype", "float32")
    if kind in ("standard_normal", "normal"):
        x = entry.get("mean", 0.0) + entry.get("std", 1.0) * rng.standard_normal(shape)
        return np.asarray(x).astype(dtype)
    if kind == "uniform":
        return np.asarray(rng.uniform(entry["low"], entry["high"], shape)).astype(dtype)
    if kind == "integers":
        return np.asarray(rng.integers(entry["low"], entry["high"], shape)).astype(dtype)
    if span := re.fullmatch(r"uniform\((-?[\d.]+),(-?[\d.]+)\)", kind):
        return rng.uniform(float(span[1]), float(span[2]), shape).astype(np.float32)
    if kind == "(uniform(-1,1) + 16x16 blocks)/2":
        noise = rng.uniform(-1, 1, shape)
        coarse = rng.uniform(-1, 1, (*shape[:-2], shape[-2] // 16, shape[-1] // 16))
        return ((noise + coarse.repeat(16, -2).repeat(16, -1)) / 2).astype(np.float32)
    if kind.startswith("uint8 photo"):
        return rng.integers(0, 256, shape).astype(np.uint8)
    if count := re.fullmatch(r"one-hot of label map, K=(\d+)", kind):
        return _label_map(rng, shape, int(count[1]), entry, one_hot=True)
    if top := re.fullmatch(r"integer label map, values 0\.\.(\d+)", kind):
        return _label_map(rng, shape, int(top[1]) + 1, entry, one_hot=False)
    raise ValueError(f"a kind of input that the recipe does not know: {kind!r}")


def _label_map(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    classes: int,
    entry: dict[str, Any],
    one_hot: bool,
) -> NDArray[Any]:
    cells = rng.integers(0, classes, (shape[0], shape[2] // 8, shape[3] // 8))
    labels = cells.repeat(8, 1).repeat(8, 2)
    if crc32(labels.astype(np.uint8).tobytes()) != entry["label_crc32"]:
        raise AssertionError(f"label map of {entry['name']}: not the recorded one")
    if not one_hot:
        return labels[:, None].astype(np.float32)
    return (labels[:, None] == np.arange(classes)[:, None, None]).astype(np.float32)


def _check_input(what: str, array: NDArray[Any], check: dict[str, Any]) -> None:
    total = array.sum(dtype=np.float64)
    if not np.isclose(total, check["sum"], rtol=1e-7, atol=1e-6 * array.size**0.5):
        raise AssertionError(f"{what}: sum {total:.8g}, recorded {check['sum']:.8g}")
    if not np.allclose(array.ravel()[:4], check["first"], rtol=1e-6, atol=1e-8):
        raise AssertionError(f"{what}: starts with {array.ravel()[:4]}, not {check['first']}")
