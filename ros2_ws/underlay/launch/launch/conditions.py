"""The conditions that launch files use."""

from __future__ import annotations

from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.subset import refuse_others
from launch.substitution import SomeSubstitutionsType, perform_text

__all__ = ["IfCondition", "InvalidConditionExpressionError", "UnlessCondition"]
__getattr__ = refuse_others(__name__)

_TRUE, _FALSE = ("true", "1"), ("false", "0")


class InvalidConditionExpressionError(Exception):
    """The text of a condition is not a truth value."""


class IfCondition(Condition):
    """Holds where the text is ``true`` or ``1``, in any case; ``false`` and ``0`` are the only other texts allowed."""

    def __init__(self, predicate_expression: SomeSubstitutionsType) -> None:
        super().__init__(predicate=lambda context: truth_of(context, predicate_expression))


class UnlessCondition(Condition):
    """The opposite of IfCondition."""

    def __init__(self, predicate_expression: SomeSubstitutionsType) -> None:
        super().__init__(predicate=lambda context: not truth_of(context, predicate_expression))


def truth_of(context: LaunchContext, expression: SomeSubstitutionsType) -> bool:
    """The truth value that a text stands for. Raises InvalidConditionExpressionError."""
    text = perform_text(context, expression).strip().lower()
    if text not in _TRUE + _FALSE:
        raise InvalidConditionExpressionError(f"expected a condition to be one of {_TRUE + _FALSE}, got '{text}'")
    return text in _TRUE
