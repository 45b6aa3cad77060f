"""Who finds the way of a row."""

import torch
from mmcl_strategies.routing.reconstruction import (
    REFERENCE,
    Autoencoder,
    Reconstruction,
)
from torch import nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival

from ..case import Case, Parity, Tolerance


def check_ddas(case: Case) -> None:
    features = case.tensor("feats")
    count, code, width = case.arrays["enc_w"].shape
    for granularity in ("batch", "sample"):
        router = Reconstruction(
            nn.Identity(), (width,), code=code, threshold=case.number("threshold"), granularity=granularity
        )
        for task in range(count - 1):
            router.meet(Arrival(task, LabelSpace(), frozenset({IMAGE})))
        router.to(case.precision)
        for a in range(count):
            set_autoencoder(router.of(REFERENCE if a == 0 else str(a - 1)), case, "", a)
        errors, ids = router.errors(features)
        assert ids.tolist() == list(range(-1, count - 1))
        case.expect("recon_err_sample", errors)
        case.expect("recon_err_batch", errors.mean(0))
        inputs = Inputs({IMAGE: features}, {IMAGE: torch.ones(len(features), dtype=torch.bool)})
        found = router(inputs, lambda _: None).ids
        case.expect(f"decision_{granularity}", found[0] if granularity == "batch" else found)
        assert granularity == "sample" or len(found.unique()) == 1


def set_autoencoder(autoencoder: Autoencoder, case: Case, prefix: str, index: int) -> None:
    """The weights of a case, as learned ones."""
    for name, layer in (("enc", autoencoder.encoder), ("dec", autoencoder.decoder)):
        layer.weight.data = case.tensor(f"{prefix}{name}_w")[index]
        layer.bias.data = case.tensor(f"{prefix}{name}_b")[index]
    autoencoder.learned.fill_(True)


PARITY = {
    "ddas_select": Parity(check_ddas, {torch.float64: Tolerance(1e-5, 1e-4), torch.float32: Tolerance(1e-5, 1e-4)}),
}
