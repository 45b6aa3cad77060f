"""Likelihoods and losses behind the objectives, as pure functions of scores and features."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def full_precision(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same in float32 or better: losses of a forward pass in half precision need more digits than it has."""
    return values.float() if values.dtype.itemsize < 4 else values


def class_log_probabilities(logits: Float[Tensor, "B C"], allowed: Bool[Tensor, "B C"] | None) -> Float[Tensor, "B C"]:
    """``log softmax`` over the allowed classes of each row, all where ``None``; minus infinity for the others."""
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    return logits.log_softmax(dim=-1)


def cross_entropy(
    logits: Float[Tensor, "B C"],
    columns: Int[Tensor, " B"],
    allowed: Bool[Tensor, "B C"] | None = None,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean cross-entropy with label smoothing, each row over its own allowed classes.

    Rows of one batch may belong to experiences with different label spaces (replay in TIL): smoothing then spreads
    uniformly over the classes allowed in that row, the true one included.

    Args:
        logits: of each class.
        columns: of the true class.
        allowed: which classes compete in a row; all where ``None``.
        smoothing: share of the target spread over the allowed classes.
    """
    if allowed is None:
        return functional.cross_entropy(logits, columns, label_smoothing=smoothing)
    log_p = class_log_probabilities(logits, allowed)
    hard = -log_p.gather(1, columns.unsqueeze(1)).squeeze(1)
    soft = -(log_p.masked_fill(~allowed, 0.0).sum(1) / allowed.sum(1))
    return ((1 - smoothing) * hard + smoothing * soft).mean()


def pair_log_probabilities(
    image: Float[Tensor, "B D"], text: Float[Tensor, "B D"], scale: Float[Tensor, ""]
) -> Float[Tensor, "B B"]:
    """``1/2 (log softmax(Z) + log softmax(Z^T))`` with ``Z = scale norm(image) norm(text)^T``, softmax over rows.

    Args:
        image: not normalised.
        text: row n belongs to row n of ``image``.
        scale: CLIP's logit scale.

    Returns:
        Entry n, n is the log-likelihood of pair n among the pairs of the batch.
    """
    scores = scale * functional.normalize(image, dim=-1) @ functional.normalize(text, dim=-1).T
    return (scores.log_softmax(dim=1) + scores.T.log_softmax(dim=1)) / 2


def pair_log_likelihood(
    image: Float[Tensor, "B D"], text: Float[Tensor, "B D"], scale: Float[Tensor, ""]
) -> Float[Tensor, " B"]:
    """Log-likelihood of each pair among the pairs of the batch: the diagonal of ``pair_log_probabilities``.

    Every pair is a wrong answer of all others and takes part in their gradients.
    """
    return pair_log_probabilities(image, text, scale).diagonal()


def sequence_log_likelihood(
    token_logits: Float[Tensor, "B L V"],
    labels: Int[Tensor, "B L"],
    ignore_index: int = -100,
    unit: Literal["sequence", "token_mean"] = "sequence",
) -> Float[Tensor, " B"]:
    """``log p(y | x) = sum_j log p(y_j | y_<j, x)`` of generated answers, over the tokens that belong to the answer.

    Args:
        token_logits: position j scores the token ``labels[:, j]``; models that predict the next token
            are shifted by the caller.
        labels: ``ignore_index`` where there is prompt or padding.
        ignore_index: the label that does not count.
        unit: ``sequence`` sums, as a likelihood does; ``token_mean`` divides by the number of answer tokens, as the
            losses of language models do: its squared gradient is ``1/length^2`` as large.

    Returns:
        The log-likelihood of each answer; 0 for one without tokens.
    """
    answer = labels != ignore_index
    log_p = token_logits.log_softmax(dim=-1)
    log_p = log_p.gather(-1, labels.masked_fill(~answer, 0).unsqueeze(-1)).squeeze(-1).masked_fill(~answer, 0.0)
    total = log_p.sum(dim=-1)
    return total if unit == "sequence" else total / answer.sum(dim=-1).clamp(min=1)


def scores_by_id(
    logits: Float[Tensor, "B C"], ids: Sequence[int], allowed: Bool[Tensor, "B C"] | None = None
) -> Float[Tensor, "B largest_id_and_one"]:
    """Scores with one column per class id, so that they can be compared with targets.

    Args:
        logits: of each class.
        ids: class id of each column.
        allowed: which classes compete in a row; all where ``None``.

    Returns:
        One column for each id from 0 to the largest; minus infinity where a class does not compete.
    """
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    scores = logits.new_full((len(logits), 1 + max(ids)), -torch.inf)
    return scores.index_copy(1, torch.tensor(ids, device=logits.device), logits)
