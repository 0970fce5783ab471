"""Helpers for launch files that handle substitutions themselves."""

from launch.subset import refuse_others
from launch.substitution import is_substitution, normalize_to_list_of_substitutions, perform_substitutions

__all__ = ["is_substitution", "normalize_to_list_of_substitutions", "perform_substitutions"]
__getattr__ = refuse_others(__name__)
