"""Substitution: text that is only known when the launch runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class Substitution:
    """Base of everything that becomes text in a context."""

    def perform(self, context: LaunchContext) -> str:
        """The text."""
        raise NotImplementedError

    def describe(self) -> str:
        """What the substitution stands for, as ``ros2 launch --show-args`` prints it."""
        return f"{type(self).__name__}()"


SomeSubstitutionsType = str | Substitution | Iterable[str | Substitution]


class TextSubstitution(Substitution):
    """Plain text."""

    def __init__(self, *, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"TextSubstitution: expected text, got {text!r} of type {type(text).__name__}")
        self.text = text

    def perform(self, context: LaunchContext) -> str:
        """The text itself."""
        return self.text

    def describe(self) -> str:
        """The text in quotes."""
        return f"'{self.text}'"


def normalize_to_list_of_substitutions(subs: SomeSubstitutionsType) -> list[Substitution]:
    """A list of substitutions, of text, of a substitution or of several of both. Raises TypeError for others."""
    if isinstance(subs, str):
        return [TextSubstitution(text=subs)]
    if isinstance(subs, Substitution):
        return [subs]
    return [_normalize_item(item) for item in subs]


def perform_substitutions(context: LaunchContext, subs: Iterable[Substitution]) -> str:
    """The texts of several substitutions, joined."""
    return "".join(substitution.perform(context) for substitution in subs)


def perform_text(context: LaunchContext, value: SomeSubstitutionsType) -> str:
    """The text of anything that stands for text."""
    return perform_substitutions(context, normalize_to_list_of_substitutions(value))


def is_substitution(value: Any) -> bool:
    """Whether a value is a substitution, or a sequence of texts and at least one substitution."""
    if isinstance(value, Substitution):
        return True
    return (
        isinstance(value, list | tuple)
        and all(isinstance(item, str | Substitution) for item in value)
        and any(isinstance(item, Substitution) for item in value)
    )


def _normalize_item(item: Any) -> Substitution:
    if isinstance(item, Substitution):
        return item
    if isinstance(item, str):
        return TextSubstitution(text=item)
    raise TypeError(f"expected text or a launch substitution, got {item!r} of type {type(item).__name__}")
