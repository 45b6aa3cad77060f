"""What is known of a value goes with it."""

import gc
import pickle
from copy import deepcopy

import torch

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.models.by_value import ByValue
from mmcl.models.heads import TextHead


def space(*names: str, first: int = 0) -> LabelSpace:
    return LabelSpace.of(names, first_id=first, templates=["{}", "a {}"])


def test_equal_keys_are_one_and_forgotten_when_they_are_gone() -> None:
    known: ByValue[LabelSpace, str] = ByValue()
    one, equal, other = space("alpha"), space("alpha"), space("beta")
    known[one] = "one"
    assert (known.get(one), known.get(equal), known.get(other)) == ("one", "one", None)
    assert len(deepcopy(known)) == len(pickle.loads(pickle.dumps(known))) == 0
    del one
    gc.collect()
    assert len(known) == 0


def test_a_text_head_keeps_nothing_of_label_spaces_that_are_gone() -> None:
    backbone = tiny_clip()
    head, kept = TextHead(backbone), space("alpha", "beta")
    with torch.no_grad():
        for number in range(5):
            head.text_features(kept)
            head.text_features(space("gamma", "delta", first=10 * number))
            head.text_features(kept.followed_by(space("gamma", first=10 * number + 2)))
    gc.collect()
    assert len(head._tokens) == len(head._kept) == 1


def test_the_features_of_a_joined_space_are_those_of_its_classes_bit_for_bit() -> None:
    head, seen, own = TextHead(tiny_clip()), space("alpha", "beta", "gamma"), space("delta", "dot", first=3)
    joined = seen.followed_by(own)
    assert joined == seen.union(own)
    with torch.no_grad():
        assert torch.equal(head.text_features(joined), head.text_features(seen.union(own)))


def test_a_space_that_adds_nothing_is_not_joined() -> None:
    seen = space("alpha", "beta")
    assert seen.followed_by(space("beta", first=1)) is seen
    assert LabelSpace().followed_by(seen) is seen
    assert seen.followed_by(space("beta", "gamma", first=1)).ids == (0, 1, 2)
