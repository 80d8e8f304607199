"""Which of our networks answers which fixture.

To add one, in the file of its system:

    def _decoder(fixture: Fixture) -> Counterpart:
        net = FeatureDecoder(channels=fixture.shapes["conv.0.conv.0.weight"][0])
        return Counterpart(lambda run: {"y": net(run.inputs["z"])}, net)

    COUNTERPARTS = {"mgpe_decoder_eye": _decoder}

Nothing may be taken from the committed files' sizes or salt: infer the constructor's arguments from
`fixture.shapes` (official key → shape), `fixture.constructor` (`fixture.number("ndf")`) and the
inputs. The harness does the rest, per run: fill under the official keys, load, set the mode, call
`call(run)` (under `no_grad` where there is a module), compare every record. These records it takes
by itself unless the call returns them: `pre_tanh` and `pre_sigmoid` (input of the last nn.Tanh or
nn.Sigmoid that ran), `@path` (output of the submodule at that path), `after/key` (the state after
the call).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from parity.fixture import Fixture, Run, State
from pentimento.compat.official import KeyMap


def _same(state: State) -> State:
    return state


def _as_filled(run: Run, official: State) -> State:
    return official


@dataclass(frozen=True)
class Counterpart:
    """One of our networks, or a function, in the place of an official one.

    Attributes:
        call: from a run to its outputs, under the recorded names.
        module: the network, or None for a function without weights.
        to_official: our state dict → theirs, in their order; the key map of `pentimento.compat`.
        from_official: theirs → ours.
        adjust: change to the filled official state that a run's notes ask for.
    """

    call: Callable[[Run], dict[str, Tensor]]
    module: nn.Module | None = None
    to_official: Callable[[State], State] = _same
    from_official: Callable[[State], State] = _same
    adjust: Callable[[Run, State], State] = _as_filled


def keyed(keys: KeyMap, module: nn.Module, call: Callable[[Run], dict[str, Tensor]]) -> Counterpart:
    """Return the counterpart whose key map is a `compat` table."""
    return Counterpart(
        call,
        module,
        keys.to_official,
        lambda official: keys.from_official(official, module.state_dict()),
    )


Build = Callable[[Fixture], Counterpart]


def table() -> dict[str, Build]:
    """Return the counterparts of all systems: fixture name → builder."""
    from parity.counterparts import (
        bicyclegan,
        centernet,
        cornernet,
        densepose,
        face_parsing,
        landmarks,
        maskgan,
        pix2pix,
        pix2pixhd,
        portrait,
        retinaface,
        spade,
        style_transfer,
        stylegan2,
        super_resolution,
        swapping_autoencoder,
    )

    return {
        **bicyclegan.COUNTERPARTS,
        **centernet.COUNTERPARTS,
        **cornernet.COUNTERPARTS,
        **densepose.COUNTERPARTS,
        **face_parsing.COUNTERPARTS,
        **landmarks.COUNTERPARTS,
        **maskgan.COUNTERPARTS,
        **pix2pix.COUNTERPARTS,
        **pix2pixhd.COUNTERPARTS,
        **portrait.COUNTERPARTS,
        **retinaface.COUNTERPARTS,
        **spade.COUNTERPARTS,
        **style_transfer.COUNTERPARTS,
        **stylegan2.COUNTERPARTS,
        **super_resolution.COUNTERPARTS,
        **swapping_autoencoder.COUNTERPARTS,
    }


def unanswered(fixtures: list[Fixture]) -> list[str]:
    """Return the names of the fixtures that no counterpart answers."""
    answered = table()
    return [fixture.name for fixture in fixtures if fixture.name not in answered]
