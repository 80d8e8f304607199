"""One optimizer step on one group of networks: what `update(name, terms)` does."""

from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pentimento.engine.settings import Settings
from pentimento.engine.system import OptimizerSpec, Terms


class Optimizers:
    """The optimizers of a system; calling it is the `Update` that a system sees.

    Gradients are computed for the group's own parameters only, so a critic that the generator's
    loss runs through needs neither freezing nor clearing. Between processes they are averaged here,
    in one piece after the backward pass, not by hooks: a GAN calls a network several times before
    one backward, and uses some parameters on some steps only.

    Attributes:
        skipped: names whose step was skipped since `begin`, for values that were not finite.
    """

    def __init__(
        self,
        fabric: Fabric,
        networks: nn.ModuleDict,
        specs: Mapping[str, OptimizerSpec],
        settings: Settings,
    ) -> None:
        self._fabric, self._specs = fabric, specs
        self._accumulate, self._clip = settings.accumulate, settings.clip
        self._parameters = {
            name: [
                parameter
                for key in spec.networks
                for parameter in networks[key].parameters()
                if parameter.requires_grad
            ]
            for name, spec in specs.items()
        }
        self._adams = {
            name: torch.optim.AdamW(  # equals Adam where the decay is 0
                self._parameters[name],
                lr=spec.lr,
                betas=spec.betas,
                weight_decay=spec.weight_decay,
                fused=fabric.device.type in ("cpu", "cuda"),
            )
            for name, spec in specs.items()
        }
        self._losses: dict[str, Tensor] = {}
        self._last = True
        self.skipped: list[str] = []

    def begin(self, done: float, *, last: bool) -> None:
        """Prepare for a batch at share `done` of the run; is it the `last` of its step?"""
        self._last, self.skipped = last, []
        for name, adam in self._adams.items():
            adam.param_groups[0]["lr"] = self._specs[name].lr * self._specs[name].schedule(done)

    def __call__(self, name: str, terms: Terms) -> None:
        """See `Update`."""
        if name not in self._adams:
            raise ValueError(f"no optimizer is called {name!r}; there are {', '.join(self._adams)}")
        parameters = self._parameters[name]
        loss = torch.stack([term.float() for term in terms.values()]).sum() / self._accumulate
        self._fabric.backward(loss, inputs=parameters)
        self._losses[name] = self._losses.get(name, torch.zeros_like(loss)) + loss.detach()
        if self._last:
            self._step(name)

    def end(self) -> None:
        """Step what was called on earlier batches of the accumulation, but not on the last."""
        for name in list(self._losses):
            self._step(name)

    def _step(self, name: str) -> None:
        parameters, total = self._parameters[name], self._losses.pop(name)
        if self._fabric.world_size > 1:
            total = self._average(parameters, total)
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if bool(torch.isfinite(norm) & torch.isfinite(total)):
            if self._clip is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)
            self._adams[name].step()
        else:
            self.skipped.append(name)
        self._adams[name].zero_grad(set_to_none=True)

    def discard(self) -> None:
        """Forget gradients that wait for the rest of their accumulation."""
        self._losses.clear()
        for adam in self._adams.values():
            adam.zero_grad(set_to_none=True)

    def _average(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Average gradients and loss over the processes; unused everywhere stays unused."""
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=loss.device)
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.reshape(1), used, *(piece.reshape(-1) for piece in pieces)])
        torch.distributed.all_reduce(flat)  # Fabric's own would wait at a barrier each time
        flat /= self._fabric.world_size
        sizes = [1, len(pieces), *(piece.numel() for piece in pieces)]
        loss, used, *averaged = torch.split(flat, sizes)
        for parameter, share, gradient in zip(parameters, used.tolist(), averaged, strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if share > 0 else None
        return loss[0]

    def state(self) -> dict[str, Tensor]:
        """Return the running averages as `<optimizer>.<parameter number>.<quantity>`."""
        return {
            f"{name}.{number}.{quantity}": value
            for name, adam in self._adams.items()
            for number, quantities in adam.state_dict()["state"].items()
            for quantity, value in quantities.items()
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned."""
        for name, adam in self._adams.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                optimizer, number, quantity = key.rsplit(".", 2)
                if optimizer == name:
                    state.setdefault(int(number), {})[quantity] = value
            adam.load_state_dict(
                {"state": state, "param_groups": adam.state_dict()["param_groups"]}
            )
