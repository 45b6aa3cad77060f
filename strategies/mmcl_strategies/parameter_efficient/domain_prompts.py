"""Domain prompts: what S-Prompts has in each of its forms, image prompts of every domain and the keys it is found by.

Of Wang, Huang and Hong, NeurIPS 2022.
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import nn

from mmcl.data.modality import IMAGE
from mmcl.data.sample import Batch
from mmcl.learning.strategy import Learner
from mmcl.models.backbone import Backbone
from mmcl.models.sites import Site
from mmcl_strategies.parameter_efficient.prompts import Prompts, behind_class_token
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.routing.centroids import NearestCentroid
from mmcl_strategies.shared.plain_features import plain_features


def image_prompts(backbone: Backbone, length: int, who: str) -> tuple[Site, Prompts]:
    """Prompts behind the class token, uniform in ``+-1/sqrt(width)`` to begin with, and the site where they are put.

    Raises:
        CompositionError: if the image tower does not show its tokens.
    """
    site = required_sites(backbone, IMAGE, "tokens", who)[0]
    bound = site.width**-0.5
    prompts = Prompts(
        length,
        site.width,
        place=behind_class_token,
        draw=partial(nn.init.uniform_, a=-bound, b=bound),
        lengthens=True,
        dtype=next(backbone.parameters()).dtype,
    )
    return site, prompts


def learn_keys(learner: Learner, *, restarts: int, augmented: bool) -> None:
    """Let the router find the centres of the current experience, of the features of its images without prompts.

    Args:
        learner: whose router is a ``NearestCentroid``.
        restarts: of K-means.
        augmented: whether images are augmented as in training.
    """
    router, samples = learner.model.router, learner.current.samples
    assert isinstance(router, NearestCentroid)
    batches: Iterable[Batch] = learner.one_pass(samples)
    if augmented:
        order = torch.arange(len(samples)).split(learner.config.eval_batch_size)
        drawn = learner.batches_in(samples, [rows.tolist() for rows in order], name="keys")
        batches = (batch.to(learner.device) for batch in drawn)
    features, _labels = plain_features(learner, batches)
    seed = int(torch.randint(2**31, (), generator=learner.generator("keys")))
    router.learn(learner.current.index, features, seed=seed, restarts=restarts)
