"""Reconstruction: an autoencoder for each experience, of which the best one names the way of what it reconstructs.

Source: the distribution-discriminative auto-selector (DDAS) of Yu et al., CVPR 2024, section 3.3 and released code.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.routing import Plain, Router

REFERENCE = "reference"  # the autoencoder of data that nothing should be adapted to


def squashed(features: Float[Tensor, "N ..."]) -> Float[Tensor, "N F"]:
    """``sigmoid`` of the features of each row: what a sigmoid decoder can reconstruct."""
    return features.flatten(1).sigmoid()


def reconstruction_errors(reconstructed: Float[Tensor, "N F"], target: Float[Tensor, "N F"]) -> Float[Tensor, " N"]:
    """Mean squared error of each row over its features."""
    return (reconstructed - target).square().mean(1)


def selected(errors: Float[Tensor, "*rows A"], ids: Int[Tensor, " A"], threshold: float) -> Int[Tensor, "*rows"]:
    """The id of the least error, or ``PLAIN`` where even that is above the threshold; of equal errors the first.

    Args:
        errors: of each autoencoder.
        ids: what each column stands for; ``PLAIN`` for the reference.
        threshold: an error that equals it is accepted.
    """
    ordered, positions = errors.sort(dim=-1, stable=True)
    return torch.where(ordered[..., 0] > threshold, PLAIN, ids[positions[..., 0]])


class Autoencoder(nn.Module):
    """``sigmoid(W2 relu(W1 s + b1) + b2)``.

    Attributes:
        learned: whether it has been trained; until then it does not compete.
    """

    learned: Tensor

    def __init__(self, features: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(features, code)
        self.decoder = nn.Linear(code, features)
        self.register_buffer("learned", torch.tensor(False))
        self.requires_grad_(False)

    def forward(self, s: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
        """What it makes of squashed features."""
        reconstructed: Tensor = self.decoder(functional.relu(self.encoder(s))).sigmoid()
        return reconstructed


def train_autoencoder(
    autoencoder: Autoencoder,
    batches: Iterable[Float[Tensor, "N F"]],
    *,
    lr: float,
    weight_decay: float,
    steps_per_epoch: int,
    decay_every: int,
) -> None:
    """Minimise the mean squared error over rows and features with Adam and its coupled weight decay.

    Args:
        autoencoder: is trained alone; afterwards it is frozen and has been learned.
        batches: squashed features, one batch for each step.
        lr: multiplied by 0.1 every ``decay_every`` epochs.
        weight_decay: is added to the gradient.
        steps_per_epoch: of ``batches``.
        decay_every: epochs.
    """
    autoencoder.requires_grad_(True)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=lr, weight_decay=weight_decay)
    with torch.enable_grad():
        for step, s in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = lr * 0.1 ** (step // steps_per_epoch // decay_every)
            loss = reconstruction_errors(autoencoder(s), s).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    autoencoder.requires_grad_(False).zero_grad()
    autoencoder.learned.fill_(True)


class Reconstruction(Router):
    """Lets the autoencoders of all learned experiences, and of the reference data, reconstruct what they are shown.

    Args:
        network: gives the features; it is no part of the model that is adapted, and is not trained.
        shape: of an image, ``(C, H, W)``.
        code: hidden units of an autoencoder.
        threshold: of the mean squared error, above which rows take the plain way.
        granularity: whether each row is decided alone or a batch as a whole.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        *,
        code: int,
        threshold: float,
        granularity: Literal["sample", "batch"],
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.code, self.threshold, self.granularity = code, threshold, granularity
        with torch.no_grad():
            self.features = squashed(self.network(torch.zeros(1, *shape))).shape[1]
        self.autoencoders = nn.ModuleDict({REFERENCE: Autoencoder(self.features, code)})

    def meet(self, arrival: Arrival) -> None:
        """An autoencoder for an experience; it competes once it has been trained."""
        like = self.of(REFERENCE).encoder.weight
        self.autoencoders[str(arrival.index)] = Autoencoder(self.features, self.code).to(like.device, like.dtype)

    def train(self, mode: bool = True) -> "Reconstruction":
        """The network stays in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def of(self, name: str) -> Autoencoder:
        """The autoencoder of an experience or of the reference."""
        autoencoder = self.autoencoders[name]
        assert isinstance(autoencoder, Autoencoder)
        return autoencoder

    @torch.no_grad()
    def look(self, images: Float[Tensor, "N ..."]) -> Float[Tensor, "N F"]:
        """Squashed features of images, as the network takes them."""
        return squashed(self.network(images))

    @torch.no_grad()
    def errors(self, images: Float[Tensor, "N ..."]) -> tuple[Float[Tensor, "N A"], Int[Tensor, " A"]]:
        """Errors of the A autoencoders that have been trained, and what they stand for."""
        s = self.look(images)
        names = [name for name in self.autoencoders if bool(self.of(name).learned)]
        columns = [reconstruction_errors(self.of(name)(s), s) for name in names]
        found = [PLAIN if name == REFERENCE else int(name) for name in names]
        ids = torch.tensor(found, dtype=torch.long, device=s.device)
        return torch.stack(columns, 1) if columns else s.new_zeros(len(s), 0), ids

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The way of each row; rows without an image, and all before anything has been learned, take the plain one."""
        route = Route.plain(inputs.batch_size, next(iter(inputs.values())).device)
        rows = inputs.present[IMAGE].nonzero().squeeze(1) if IMAGE in inputs else route.ids[:0]
        if not len(rows):
            return route
        errors, ids = self.errors(inputs[IMAGE][rows])
        if not len(ids):
            return route
        if self.granularity == "batch":
            errors = errors.mean(0, keepdim=True)
        found = selected(errors, ids, self.threshold).expand(len(rows))
        chosen = route.ids.index_copy(0, rows, found)
        return Route(chosen, (chosen != PLAIN).to(route.strength.dtype))
