"""The terms of each strategy, written once more from their definitions, with none of the library's formulas."""

from collections.abc import Mapping
from typing import Any

import torch
from mmcl_strategies.shared.stored_features import drawn_slots
from torch import Tensor
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel
from mmcl.testing.encoded import encoded

from .script import View

Terms = Mapping[str, Tensor]


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def soft(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropy with the teacher's softmax, mean over rows."""
    return -((teacher / temperature).softmax(1) * (student / temperature).log_softmax(1)).sum(1).mean()


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student), mean over rows."""
    return soft(student, teacher, temperature) - soft(teacher, teacher, temperature)


def features(model: MultimodalModel, inputs: Inputs) -> dict[str, Tensor]:
    return {name: encoded(model.backbone, name, value).pooled for name, value in inputs.items()}


def of_class_names(model: MultimodalModel, space: LabelSpace) -> Tensor:
    """Unit features of the first prompt of each class."""
    prompts = [label.templates[0].format(label.name) for label in space]
    return unit(encoded(model.backbone, TEXT, model.backbone.tokenize(prompts)).pooled)


def old_spaces(learner: Learner) -> list[LabelSpace]:
    """The classes of each earlier experience; of all of them together where they compete together."""
    spaces = [met.label_space for met in learner.seen if met is not learner.current]
    if learner.scenario.label_space_at_test == "own" or not spaces:
        return spaces
    joined = LabelSpace()
    for space in spaces:
        joined = joined.union(space)
    return [joined]


def over_own_classes(view: View) -> Tensor:
    """Cross-entropy in which the classes of earlier experiences have no part; they come first."""
    learner, classes = view.learner, len(view.learner.current.label_space)
    logits, smoothing = learner.output.logits, learner.config.label_smoothing
    assert logits is not None
    columns = learner.batch.targets - learner.current.label_space.ids[0]
    return functional.cross_entropy(logits[:, -classes:], columns, label_smoothing=smoothing)


def named(model: MultimodalModel, ending: str) -> list[Tensor]:
    """Parameters whose names end like this."""
    return [parameter for name, parameter in model.named_parameters() if name.endswith(ending)]


def dualprompt(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    (key,) = named(learner.model, f"router.keys.{learner.current.index}")
    cosines = unit(features(learner.model, learner.batch.inputs)[IMAGE]) @ key / key.norm()
    return {"task": over_own_classes(view), "pull": -it.pull * cosines.mean()}


def l2p(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    (keys,) = named(learner.model, "l2p.keys")
    cosines = unit(features(learner.model, learner.batch.inputs)[IMAGE]) @ unit(keys).T
    chosen = [row.argsort(descending=True)[: it.top_k].tolist() for row in cosines]
    if it.batchwise:
        every = [key for of_row in chosen for key in of_row]
        vote = sorted(range(len(keys)), key=lambda key: (-every.count(key), key))
        chosen = [vote[: it.top_k] for _ in chosen]
    drawn = torch.stack([cosines[row, of_row].sum() for row, of_row in enumerate(chosen)])
    return {"task": over_own_classes(view), "pull": -it.pull * drawn.mean()}


def coda_prompt(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    penalty = torch.zeros(())
    for kind in ("keys", "looks", "parts"):
        rows = torch.cat([p for n, p in learner.model.named_parameters() if f"coda_prompt.{kind}." in n]).flatten(1)
        for k, one in enumerate(rows):
            for m, other in enumerate(rows):
                penalty = penalty + ((one * other).sum() - float(k == m)) ** 2 / len(rows) ** 2
    return {"task": over_own_classes(view), "orthogonality": it.orthogonality * penalty}


def cpe_clip(view: View) -> Terms:
    return {"task": over_own_classes(view)}


def fwd_prompt(view: View) -> Terms:
    """Samples without a text have a similarity of nothing with the keys of texts."""
    learner, it = view.learner, view.strategy
    (keys,) = named(learner.model, "fwd_prompt.image_keys")
    cosines = unit(features(learner.model, learner.batch.inputs)[IMAGE]) @ unit(keys).T
    chosen = cosines.sort(dim=1, descending=True).values[:, : it.top_k]
    return {"pull": -it.pull * chosen.sum(1).mean()}


def lwf(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    current = it.prompts == "current"
    spaces = [learner.current.label_space] if current else old_spaces(learner)
    if not spaces:
        return {}
    teacher, inputs = learner.teacher("previous").model, learner.batch.inputs
    if it.samples == "second":
        (inputs,) = view.encoded
    student_images, teacher_images = (unit(features(model, inputs)[IMAGE]) for model in (learner.model, teacher))
    scales = [model.backbone.logit_scale for model in (learner.model, teacher)]
    logits, transposed = torch.zeros(()), torch.zeros(())
    for space in spaces:
        keys = of_class_names(teacher, space)
        own = keys if it.texts == "frozen" else of_class_names(learner.model, space)
        new, old = scales[0] * student_images @ own.T, scales[1] * teacher_images @ keys.T
        logits = logits + it.temperature**2 * soft(new, old, it.temperature)
        transposed = transposed + it.temperature**2 * soft(new.T, old.T, it.temperature)
    return {"logits": it.strength * logits, "transposed": it.strength * transposed}


def lwf_on_linear_units(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    total, found = torch.zeros(()), False
    for space in old_spaces(learner):
        new, old = (
            model.head.logits(features(model, learner.batch.inputs)[IMAGE], space)
            for model in (learner.model, learner.teacher("previous").model)
        )
        total, found = total + soft(new, old, it.temperature), True
    return {"logits": it.strength * total} if found else {}


def lwf_vr(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    teacher, (images,) = learner.teacher("previous").model, view.encoded
    keys, scale = it._keys, teacher.backbone.logit_scale
    assert keys.shape == (it.sentences, teacher.backbone.width)
    new, old = (scale * unit(features(model, images)[IMAGE]) @ unit(keys).T for model in (learner.model, teacher))
    factor = it.strength * it.temperature**2
    return {"image": factor * soft(new, old, it.temperature), "text": factor * soft(new.T, old.T, it.temperature)}


def zscl(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    assert learner.reference is not None
    (images,) = view.encoded
    mixed = learner.teacher(next(iter(it.teachers))).model
    keys = unit(encoded(mixed.backbone, TEXT, mixed.backbone.tokenize(learner.reference.texts)).pooled)
    student, teacher = (unit(features(model, images)[IMAGE]) for model in (learner.model, mixed))
    scale, squared = mixed.backbone.logit_scale, it.temperature**2
    new, old = scale * student @ keys.T, scale * teacher @ keys.T
    own = torch.eye(len(student), dtype=torch.bool)
    among = [(scale * rows @ rows.T).masked_fill(own, -torch.inf) for rows in (student, teacher)]
    shares = (among[1] / it.temperature).softmax(1)
    log_shares = (among[0] / it.temperature).log_softmax(1).masked_fill(own, 0.0)
    terms = {
        "image": it.image_weight * squared * soft(new, old, it.temperature),
        "text": it.text_weight * squared * soft(new.T, old.T, it.temperature),
        "image-image": -it.image_image_weight * squared * (shares * log_shares).sum(1).mean(),
        "feature": it.feature_weight * (student - teacher).square().mean(),
    }
    moved = [(p - it._anchor[name]).square().sum() for name, p in learner.model.shared_parameters()]
    terms["consolidation"] = it.consolidation * torch.stack(moved).sum()
    weightless = {"image-image": it.image_image_weight, "feature": it.feature_weight}
    return {name: value for name, value in terms.items() if weightless.get(name, 1)}


def modx(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    cosines = []
    for model in (learner.model, learner.teacher("previous").model):
        found = features(model, learner.batch.inputs)
        cosines.append(unit(found[IMAGE]) @ unit(found[TEXT]).T)
    terms = {}
    for name, (new, old) in {"image-to-text": cosines, "text-to-image": [c.T for c in cosines]}.items():
        kept = [row for row in range(len(old)) if int(old[row].argmax()) == row]
        rows = [(old[k].softmax(0) * (old[k].log_softmax(0) - new[k].log_softmax(0))).sum() for k in kept]
        strength = 20 * 280 / len(new) if it.strength is None else it.strength
        terms[name] = strength / 2 * torch.stack([torch.zeros(()), *rows]).sum()
    return terms


def ctp(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    momentum = learner.teacher(next(t for t in it.teachers if t != "previous")).model
    new, moving, old = (
        {name: unit(rows) for name, rows in features(model, learner.batch.inputs).items()}
        for model in (learner.model, momentum, learner.teacher("previous").model)
    )
    right, tau = torch.arange(len(new[IMAGE])), it.temperature
    against = {name: torch.cat([moving[name], it.state.queues[name].T]) for name in (IMAGE, TEXT)}
    itc = [functional.cross_entropy(new[a] @ new[b].T / tau, right) for a, b in ((IMAGE, TEXT), (TEXT, IMAGE))]
    cmc = [functional.cross_entropy(new[a] @ against[b].T / tau, right) for a, b in ((IMAGE, TEXT), (TEXT, IMAGE))]
    terms = {"task": (itc[0] + itc[1]) / 2, "cmc": it.cmc_weight * (cmc[0] + cmc[1]) / 2}
    if view.first:
        return terms
    pairs = ((IMAGE, TEXT), (TEXT, IMAGE))
    cross = [divergence(new[a] @ new[b].T, old[a] @ old[b].T, tau) for a, b in pairs]
    same = [divergence(*(without_own(view_[a] @ view_[a].T) for view_ in (new, old)), tau) for a in (IMAGE, TEXT)]
    return {
        **terms,
        "cross": it.cross_weight * (cross[0] + cross[1]) / 2,
        "same": it.same_weight * (same[0] + same[1]) / 2,
    }


def without_own(scores: Tensor) -> Tensor:
    """``[B, B]`` without the diagonal, ``[B, B - 1]``."""
    return scores[~torch.eye(len(scores), dtype=torch.bool)].reshape(len(scores), -1)


def kdr(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    found = learner.output.features
    scores = unit(found[IMAGE]) @ unit(found[TEXT]).T
    task = torch.zeros(())
    for k in range(len(scores)):
        others = [j for j in range(len(scores)) if j != k]
        if others:
            task = task + (it.margin + scores[k, others] - scores[k, k]).clamp(min=0).max()
            task = task + (it.margin + scores[others, k] - scores[k, k]).clamp(min=0).max()
    if not it.state.records:
        return {"task": task}
    tasks = [record["task_id"] for record in it.state.records]
    slots = drawn_slots(tasks, it.per_experience, learner.generator("kdr", learner.step))
    values = {n: torch.stack([it.state.records[s]["inputs"][n] for s in slots]) for n in (IMAGE, TEXT)}
    head: Any = learner.model.head
    shared = head.shared({n: encoded(learner.model.backbone, n, v).pooled for n, v in values.items()})
    then = {n: it.state.features[n][slots] for n in (IMAGE, TEXT)}
    new, old = ((1 + rows[IMAGE] @ rows[TEXT].T) / 2 / it.temperature for rows in (shared, then))
    q, p = new.softmax(0), old.softmax(0)
    return {"task": task, "replay": it.strength * (q * (q.log() - p.log())).sum() / len(slots) ** 2}


def incclip(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    backbone, found = learner.model.backbone, features(learner.model, learner.batch.inputs)
    image, text = unit(found[IMAGE]), unit(found[TEXT])
    slots = it.drawn(learner, learner.step)
    texts = text
    if slots:
        texts = torch.cat([text, unit(it._encoded(learner.model, it._negatives[slots]))])
    right, scale = torch.arange(len(image)), backbone.logit_scale
    to_texts = functional.cross_entropy(scale * image @ texts.T, right)
    terms = {"task": (to_texts + functional.cross_entropy(scale * text @ image.T, right)) / 2}
    if not slots:
        return terms
    remembered = [it.state.records[slot]["sample_id"] for slot in slots]
    assert list(learner.batch.inputs.sample_ids[-len(slots) :]) == remembered
    old = features(learner.teacher("previous").model, learner.batch.inputs)
    sharp = learner.teacher("previous").model.backbone.logit_scale
    rows = slice(-len(slots), None)
    new_scores = sharp * image[rows] @ text[rows].T
    old_scores = sharp * unit(old[IMAGE])[rows] @ unit(old[TEXT])[rows].T
    both = divergence(new_scores, old_scores, it.temperature) + divergence(new_scores.T, old_scores.T, it.temperature)
    return {**terms, "distillation": it.strength * it.temperature**2 * both / 2}


def dgr(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    space, batch = learner.label_space, learner.batch
    images = unit(features(learner.model, batch.inputs)[IMAGE])
    scale = learner.model.backbone.logit_scale
    logits = scale * images @ of_class_names(learner.model, space).T
    smoothing = learner.config.label_smoothing
    task = functional.cross_entropy(logits, space.columns(batch.targets), label_smoothing=smoothing)
    if view.first:
        return {"task": task}
    r = 1 / len(learner.seen) if it.ratio is None else it.ratio
    (generated,), teacher = view.encoded, learner.teacher("previous").model
    assert generated.batch_size == len(batch.targets)
    (known,) = old_spaces(learner)
    new = scale * unit(features(learner.model, generated)[IMAGE]) @ of_class_names(learner.model, space).T
    old = teacher.backbone.logit_scale * unit(features(teacher, generated)[IMAGE]) @ of_class_names(teacher, known).T
    columns = space.columns(torch.tensor(known.ids))
    if it.targets == "hard":
        loss = functional.cross_entropy(new, columns[old.argmax(1)], label_smoothing=smoothing)
    else:
        log_p = (new / it.temperature).log_softmax(1)[:, columns]
        loss = -((old / it.temperature).softmax(1) * log_p).sum(1).mean()
    return {"task": r * task, "replay": (1 - r) * loss}


def icarl(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    seen = LabelSpace()
    for met in learner.seen:
        seen = seen.union(met.label_space)
    heads = [
        model.head.linear.logits(features(model, learner.batch.inputs)[IMAGE], seen)
        for model in ((learner.model, learner.teacher("previous").model))
    ]
    old = [column for column, id_ in enumerate(seen.ids) if id_ not in learner.current.label_space.ids]
    columns = seen.columns(learner.batch.targets)
    if it.loss == "ce_kd":
        task = functional.cross_entropy(heads[0], columns, label_smoothing=learner.config.label_smoothing)
        return {"task": task + soft(heads[0][:, old], heads[1][:, old], it.temperature) if old else task}
    targets = functional.one_hot(columns, len(seen)).float()
    targets[:, old] = heads[1][:, old].sigmoid()
    return {"task": functional.binary_cross_entropy(heads[0].sigmoid(), targets)}


def rapf(view: View) -> Terms:
    learner, it, space = view.learner, view.strategy, view.learner.label_space
    (W,) = named(learner.model, "rapf.layer.weight")
    text, scale, state = of_class_names(learner.model, space), learner.model.backbone.logit_scale, it.state
    found, columns = [features(learner.model, learner.batch.inputs)[IMAGE]], [learner.batch.targets]

    def drawn(purpose: str, which: list[int], rows: int) -> list[Tensor]:
        generator = learner.generator("rapf", purpose, learner.step)
        noise = torch.randn(len(which) * rows, len(W), generator=generator).view(len(which), rows, -1)
        spreads = [state.covariances[k] for k in which]
        if it.shrinkage:
            one, beside = torch.eye(len(W)).double(), 1 - torch.eye(len(W)).double()
            spreads = [S + S.trace() / len(S) * one + (S * beside).sum() / beside.sum() * beside for S in spreads]
        factors = [torch.linalg.cholesky(S).float() for S in spreads]
        return [state.means[k].float() + z @ L.T for k, z, L in zip(which, noise, factors, strict=True)]

    if not view.first:
        epoch, step = divmod(learner.step, -(-len(learner.current.samples) // learner.config.batch_size))
        order = torch.randperm(len(state.means), generator=learner.generator("rapf", "order", epoch)).tolist()
        turn = [order[(it.old_classes * step + k) % len(order)] for k in range(it.old_classes)]
        found += drawn("replay", turn, int(10 * it.beta))
        columns += [torch.full((int(10 * it.beta),), state.targets[k]) for k in turn]
    logits = scale * unit(torch.cat(found) @ W.T) @ text.T
    smoothing, targets = learner.config.label_smoothing, space.columns(torch.cat(columns))
    task = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    new, old = learner.current.label_space.ids, state.targets if not view.first else []
    pairs = [(i, j) for i in old for j in new if float((text[i] - text[j]).norm()) < it.threshold]
    if not pairs:
        return {"task": task}
    missing = []
    for (i, j), x in zip(pairs, drawn("hinge", [i for i, _ in pairs], int(20 * it.beta)), strict=True):
        cosines = unit(x @ W.T) @ text[[i, j]].T
        missing.append((it.margin - cosines[:, 0] + cosines[:, 1]).clamp(min=0))
    return {"task": task, "hinge": torch.cat(missing).mean()}


def penalty(view: View) -> Terms:
    """Of the EWC family in the second experience, when one solution is remembered."""
    it, parameters = view.strategy, dict(view.learner.model.named_parameters())
    if view.first:
        return {}
    (solution,) = view.handed_over
    factor = it.strength * (it.gamma if getattr(it, "decay_in_loss", False) and it.recursion == "decay" else 1.0)
    prior = getattr(it, "prior", 0.0)
    parts = [((f + prior) * (parameters[n] - solution[n]).square()).sum() for n, f in it.state.fisher.items()]
    return {"penalty": factor / 2 * torch.stack(parts).sum()}


def hat(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    batches = -(-len(learner.current.samples) // learner.config.batch_size)
    assert len(learner.dataloader) == batches
    s = 1 / it.s_max + (it.s_max - 1 / it.s_max) * learner.step / (batches - 1)
    head: Any = learner.model.head
    gates = [layer.gate for layer in head.stack.layers]
    kept = sum(float(((s * g.embeddings[-1]).sigmoid() * (1 - g.used)).sum()) for g in gates)
    room = sum(float((1 - g.used).sum()) for g in gates)
    return {"sparsity": torch.tensor(it.sparsity * kept / room if room else 0.0)}


def feature_replay(view: View) -> Terms:
    """With as many classes in each experience the old ones count as many experiences as there were."""
    learner, it = view.learner, view.strategy
    space, batch = learner.label_space, learner.batch
    found = features(learner.model, batch.inputs)[IMAGE]
    scale = learner.model.backbone.logit_scale
    logits = scale * unit(found) @ of_class_names(learner.model, space).T
    smoothing = learner.config.label_smoothing
    task = functional.cross_entropy(logits, space.columns(batch.targets), label_smoothing=smoothing)
    if view.first:
        return {"task": task}
    k = len(learner.seen) - 1
    drift = (found - features(learner.teacher("previous").model, batch.inputs)[IMAGE]).square().sum().sqrt()
    return {"task": task / (k + 1), "drift": it.strength * k * drift}


def distill(view: View) -> Terms:
    learner, it = view.learner, view.strategy
    form, teacher = it.form or {"logits": "kl", "feature": "mse", "relation": "cross"}[it.kind], None
    if it.teacher != "stored":
        (policy,) = it.teachers
        teacher = learner.teacher(policy).model
    assert teacher is not None
    new, old = (features(model, learner.batch.inputs) for model in (learner.model, teacher))
    rows, t = len(learner.batch.targets), it.temperature or (2.0 if it.kind == "logits" else 0.07)
    if it.kind == "logits":
        spaces = [learner.label_space] if it.classes == "all" else old_spaces(learner)
        if not spaces:
            return {}
        (space,) = spaces
        scores = [
            model.backbone.logit_scale * unit(found[IMAGE]) @ of_class_names(model, space).T
            for model, found in ((learner.model, new), (teacher, old))
        ]
        loss = (divergence if form == "kl" else soft)(scores[0], scores[1], t)
    elif form == "cross":
        pairs = ((IMAGE, TEXT), (TEXT, IMAGE))
        halves = [divergence(unit(new[a]) @ unit(new[b]).T, unit(old[a]) @ unit(old[b]).T, t) for a, b in pairs]
        loss = (halves[0] + halves[1]) / 2
    else:
        names = sorted(new) if it.features == "each" else [it.features]
        loss = torch.stack([_of_form(form, new[name], old[name], t, it) for name in names]).mean()
    factor = it.strength * (t**2 if it.squared_temperature else 1) * (rows if it.reduction == "sum" else 1)
    return {it.kind: factor * loss}


def _of_form(form: str, new: Tensor, old: Tensor, t: float, it: Any) -> Tensor:
    if it.normalize or (it.normalize is None and form == "mse"):
        new, old = unit(new), unit(old)
    if form == "mse":
        return (new - old).square().mean()
    if form == "cosine":
        return 1 - (unit(new) * unit(old)).sum(1).mean()
    if form == "dimensions":
        return divergence(new, old, t)
    if form == "length":
        return (new - old).norm(dim=1).mean()
    cosines = [unit(rows) @ unit(rows).T for rows in (new, old)]
    if form == "gram":
        return (cosines[0] - cosines[1]).square().mean()
    assert form == "same"
    return divergence(without_own(cosines[0]), without_own(cosines[1]), t)
