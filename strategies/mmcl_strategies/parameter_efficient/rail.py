"""RAIL: regression in closed form on the features of a frozen CLIP, beside its zero-shot answers.

Paper: Xu, Chen, Nie, Wang, Zhuang and Okumura, "Advancing cross-domain discriminability in continual learning of
vision-language models", NeurIPS 2024, whose released code decides.
Idea: ridge regression that is updated recursively is the one on all data at once, so that nothing is forgotten; a
sample whose zero-shot answer is a class that was never learned keeps its zero-shot scores, so that nothing that CLIP
can do is lost.
Equation: ``x = f / ||f||``, ``phi = relu(W_r x)``. For every batch ``R <- R - R Phi^T (I + Phi R Phi^T)^-1 Phi R``,
then ``W <- W + R Phi^T (Y - Phi W)``; new classes are columns of zeros. Dual: ``alpha = (K + lambda_d I)^-1 Y`` with
``K_ij = exp(-gamma ||x_i - x_j||^2)``, and ``k(x, X) alpha``. At evaluation ``p = softmax(exp(s) cos)`` over all
classes that compete; rows whose best class is one that was learned get ``(1 - w) p + w [regression, 0]``, the others p.
Computation: one pass over the samples at the end of an experience, without augmentation; no optimiser, no step, no
gradient. The whole pre-trained model is frozen.
Kept between experiences: primal R and W, no sample; dual the features and classes of all samples, and alpha. They are
buffers of the head, in double precision.
Modalities: f is the fusion of what is present in a sample.
Deviations: the first inverse comes out of the same recursion as the others, from ``R = I / lambda``, which is the same;
all is in double precision, where the code casts to single. The gate gives ties to the learned class, as the code does
by the order of its columns. alpha is solved for anew, as in the code; the paper updates it by blocks. The code's
``fusion_weight`` is w.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from mmcl.learning.compose import Need, Slot
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.strategy import Learner, MemoryBudget, StrategyPlugin
from mmcl.models.heads import TextHead
from mmcl.options import Natural, Positive, Share
from mmcl_strategies.parameter_efficient.analytic_head import AnalyticHead
from mmcl_strategies.parameter_efficient.regression import DualRegression, PrimalRegression, Regression
from mmcl_strategies.parameter_efficient.ridge import unit
from mmcl_strategies.shared.fixed_features import require_fixed_features

_SMALL = 32  # units of the random layer in tests


@dataclass(kw_only=True, eq=False)
class RAIL(StrategyPlugin):
    """Freezes the model and learns a regression beside its zero-shot answers."""

    # the way of every sample is the plain one: features that others change would be regressed on no longer
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEAD, Slot.ROUTE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES, Need.TEXT_ENCODER})
    closed_form: ClassVar[bool] = True
    fixed_features: ClassVar[bool] = True
    grows: ClassVar[bool] = True  # a column for each class; the dual form keeps features, too

    form: Literal["primal", "dual"] = "primal"  # of the regression: on an expansion, or with a kernel
    ridge: Positive = 0.1  # lambda of the primal form
    dual_ridge: Positive = 0.001  # lambda_d of the dual form
    gamma: Positive = 0.1  # of the kernel
    adapter_weight: Share = 0.8  # w, of the regression beside the zero-shot probabilities
    expansion: Natural | None = 15000  # h, units of the random layer; 0 or none: the features themselves

    def memory_budget(self) -> MemoryBudget:
        """The features of all samples in the dual form."""
        return MemoryBudget(samples=0 if self.form == "primal" else None)

    def miniature(self) -> "RAIL":
        """With a small expansion."""
        return replace(self, expansion=min(self.expansion or 0, _SMALL))

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model and put the head in place."""
        backbone = learner.model.backbone
        backbone.requires_grad_(False)
        learner.model.head = AnalyticHead(TextHead(backbone), self._regression(backbone.width), self.adapter_weight)

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Refuse company that trains what the features come from."""
        require_fixed_features(learner, "rail")

    @torch.no_grad()
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """One pass over the samples."""
        model, head = learner.model, learner.model.head
        assert isinstance(head, AnalyticHead)
        with auxiliary_pass(nn.ModuleList([model.backbone, model.fusion])):
            batches = learner.one_pass(learner.current.samples)
            pairs = ((unit(model.encode(batch.inputs).fused), batch.labels) for batch in batches)
            head.regression.learn(learner.current.label_space.ids, pairs)

    def _regression(self, width: int) -> Regression:
        if self.form == "dual":
            return DualRegression(width, self.gamma, self.dual_ridge)
        return PrimalRegression(width, self.expansion or 0, self.ridge)
