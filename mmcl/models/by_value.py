"""ByValue: what has been found out about values, kept no longer than they are."""

from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

Key = TypeVar("Key")
Value = TypeVar("Value")


class ByValue(WeakKeyDictionary[Key, Value], Generic[Key, Value]):
    """A mapping whose keys are compared by value and not kept alive by it.

    What is known of a key is forgotten with the first one of its equals that it was told of. Copies begin empty.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "ByValue[Key, Value]":
        return ByValue()

    def __reduce__(self) -> tuple[Any, ...]:
        return ByValue, ()
