"""ByIdentity: what has been found out about objects, for as long as they live."""

import weakref
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ByIdentity(Generic[Key, Value]):
    """A mapping that tells its keys apart by identity and keeps none of them alive. Copies of it begin empty."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Key], Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """What was put there for this very object."""
        entry = self._entries.get(id(key))
        return None if entry is None else entry[1]

    def put(self, key: Key, value: Value) -> Value:
        """Keep ``value``, which must not refer to ``key``, until ``key`` is gone."""
        entries, number = self._entries, id(key)
        entries[number] = weakref.ref(key, lambda _: entries.pop(number, None)), value
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return ByIdentity, ()
