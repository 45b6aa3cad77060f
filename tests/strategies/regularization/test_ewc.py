"""EWC: an exact penalty at constant cost."""

import torch
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.regularization.ewc import EWC

from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import MDTIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


def test_there_is_no_penalty_before_the_second_experience() -> None:
    benchmark = toy_benchmark(TIL)
    plain, ewc = toy_learner(benchmark), toy_learner(benchmark, {"ewc": EWC()})
    plain.train(benchmark.train[0])
    ewc.train(benchmark.train[0])
    assert all(torch.equal(weights(plain)[name], value) for name, value in weights(ewc).items())
    assert not ewc.gradient_values


def test_training_equals_one_penalty_per_earlier_experience_in_the_loss() -> None:
    """The folded gradient-side penalty against the definition, over three experiences."""

    class Separate(StrategyPlugin):
        def __init__(self, ewc: EWC) -> None:
            self.ewc, self.anchors, self.fishers = ewc, [], []

        def loss_terms(self, learner: Learner) -> dict[str, torch.Tensor]:
            named = dict(learner.model.shared_parameters())
            total = torch.zeros(())
            for anchor, fisher in zip(self.anchors, self.fishers, strict=True):
                for name, value in fisher.items():
                    total = total + 0.5 * self.ewc.strength * (value * (named[name] - anchor[name]).square()).sum()
            return {"penalty": total}

        def after_training_exp(self, learner: Learner, **_: object) -> None:
            parameters = dict(learner.model.shared_parameters())
            self.anchors.append({name: p.detach().clone() for name, p in parameters.items()})
            learner.model.eval()
            self.fishers.append(self.ewc._fisher_pass(learner, parameters))
            learner.model.zero_grad()
            learner.model.train()

    def train(strategy: StrategyPlugin) -> dict[str, torch.Tensor]:
        benchmark = toy_benchmark(TIL)
        learner = toy_learner(benchmark, {"s": strategy}, optimizer="sgd", lr=1e-3, iterations=5)
        for experience in benchmark.train:
            learner.train(experience)
        return weights(learner)

    folded, separate = train(EWC(strength=50.0)), train(Separate(EWC(strength=50.0)))
    for name in folded:
        torch.testing.assert_close(folded[name], separate[name], rtol=1e-4, atol=1e-6)


def test_the_state_does_not_grow_with_the_number_of_experiences() -> None:
    benchmark, strategy, sizes = toy_benchmark(TIL, experiences=4), EWC(samples=4), []
    learner = toy_learner(benchmark, {"ewc": strategy})
    for experience in benchmark.train:
        learner.train(experience)
        sizes.append(sum(t.numel() for part in vars(strategy.state).values() for t in part.values()))
    assert len(set(sizes)) == 1


def test_the_fisher_does_not_depend_on_the_strength() -> None:
    benchmark = toy_benchmark(TIL)
    states = []
    for strength in (0.0, 0.0001):
        strategy = EWC(strength=strength)
        learner = toy_learner(benchmark, {"ewc": strategy}, lr=1e-9)
        for experience in benchmark.train[:2]:
            learner.train(experience)
        states.append(strategy.state.fisher)
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-3, atol=1e-10)


def test_every_estimator_runs_and_the_batched_one_is_smaller() -> None:
    benchmark = toy_benchmark(TIL)
    traces = {}
    for estimator in ("empirical", "sampled", "exact", "batched"):
        strategy = EWC(fisher=estimator, batch_size=16)
        learner = toy_learner(benchmark, {"ewc": strategy})
        learner.train(benchmark.train[0])
        traces[estimator] = sum(float(value.sum()) for value in strategy.state.fisher.values())
    assert all(trace > 0 for trace in traces.values())
    assert traces["batched"] < 0.7 * traces["empirical"]


def test_patterns_choose_what_is_protected() -> None:
    benchmark, strategy = toy_benchmark(TIL), EWC(include=("*visual*",), exclude=("*bias",))
    learner = toy_learner(benchmark, {"ewc": strategy})
    learner.train(benchmark.train[0])
    assert strategy.state.fisher
    assert all("visual" in name and not name.endswith("bias") for name in strategy.state.fisher)


def test_the_fisher_pass_leaves_no_gradient_and_no_mode_behind() -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"ewc": EWC()})
    learner.train(benchmark.train[0])
    assert learner.model.training


def test_the_anchor_is_the_mean_that_zscl_hands_over() -> None:
    benchmark, strategy = toy_benchmark(TIL), EWC()
    learner = toy_learner(benchmark, {"ewc": strategy, "zscl": ZSCL(average_every=1)}, lr=1e-2)
    learner.train(benchmark.train[0])
    for name, parameter in learner.model.shared_parameters():
        assert torch.equal(strategy.state.centre[name], parameter.detach())


def test_the_fisher_of_texts_and_of_mixed_samples_is_that_of_one_sample_at_a_time() -> None:
    """The text tower encodes samples and prompts: its gradients must not be attributed to the wrong rows."""

    def fisher(batch_size: int) -> dict[str, torch.Tensor]:
        benchmark, strategy = toy_benchmark(MDTIL), EWC(batch_size=batch_size)
        learner = toy_learner(benchmark, {"ewc": strategy}, iterations=1, lr=1e-12)
        for experience in benchmark.train:
            learner.train(experience)
        return strategy.state.fisher

    alone, together = fisher(1), fisher(8)
    for name, value in alone.items():
        # alone, a sample without text meets the text tower in the prompts only, whose half a percent may be missing
        assert float((together[name] - value).norm()) <= 5e-3 * float(value.norm()), name
