"""Reference data of a strategy: its own, or the benchmark's."""

from mmcl.data.reference import ReferenceData
from mmcl.errors import ConfigError
from mmcl.learning.strategy import Learner, StrategyPlugin


def reference_for(strategy: StrategyPlugin, name: str, learner: Learner) -> ReferenceData:
    """What the option ``reference`` of a strategy names, or else what the benchmark has.

    Raises:
        ConfigError: if there are none.
    """
    data: ReferenceData | None = strategy.reference_data() or learner.reference
    if data is None:
        raise ConfigError(
            f"{name}.reference",
            found="neither the benchmark nor the strategy names reference data",
            allowed="a folder with images/ and captions.txt",
            remedy=f"Pass {name}:reference=DIR or put the folder 'reference' into the data root.",
        )
    return data
