"""Queries travel with ways; rows that take none have no strength."""

import torch
from mmcl_strategies.routing.queries import asking

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Encoded, Features


def test_rows_that_are_plain_or_lack_an_image_have_no_strength_and_all_have_the_query_of_their_row() -> None:
    features, present = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 1, 0, 1]).bool()
    encoded = Encoded({IMAGE: Features(features)}, {IMAGE: present}, torch.ones(()))
    route = asking(torch.tensor([2, PLAIN, 1, 0]), Inputs({IMAGE: features}, {IMAGE: present}), lambda _: encoded)
    assert route.ids.tolist() == [2, PLAIN, PLAIN, 0]
    assert route.strength.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert route.query is features
