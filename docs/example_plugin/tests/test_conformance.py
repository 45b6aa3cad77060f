"""What every strategy promises: a test per promise."""

from collections.abc import Callable

from mmcl.testing import parametrize_checks


@parametrize_checks("derpp")
def test_conformance(check: Callable[[object], None], plugin: object) -> None:
    check(plugin)
