"""Timeline: the methods of a strategy in the order in which they are called.

``Learner`` is where it happens; a test holds the two together.
"""

from mmcl.learning.compose import Slot

# asked only of the occupant; those of the other slots put a module into the model
METHOD_OF_SLOT = {
    Slot.BATCHES: "training_batches",
    Slot.OBJECTIVE: "objective",
    Slot.GRADIENT: "edit_gradient",
}

ONCE = ("adapt_model",)
BEFORE_EXPERIENCE = (
    "before_training",
    "before_train_dataset_adaptation",
    "after_train_dataset_adaptation",
    "training_batches",
    "before_training_exp",
    "before_training_epoch",
)
STEP = (
    "before_training_iteration",
    "before_forward",
    "after_forward",
    "objective",
    "loss_terms",
    "before_backward",
    "after_backward",
    "gradient_terms",
    "edit_gradient",
    "before_update",
    "after_update",
    "after_training_iteration",
)
AFTER_EXPERIENCE = ("after_training_epoch", "after_training_exp", "after_training")
BEFORE_EVALUATION = (
    "before_eval",
    "before_eval_dataset_adaptation",
    "after_eval_dataset_adaptation",
    "before_eval_exp",
)
EVALUATION_STEP = ("before_eval_iteration", "before_eval_forward", "after_eval_forward", "after_eval_iteration")
AFTER_EVALUATION = ("after_eval_exp", "after_eval")

TIMELINE = (
    *ONCE,
    *BEFORE_EXPERIENCE,
    *STEP,
    *AFTER_EXPERIENCE,
    *BEFORE_EVALUATION,
    *EVALUATION_STEP,
    *AFTER_EVALUATION,
)
