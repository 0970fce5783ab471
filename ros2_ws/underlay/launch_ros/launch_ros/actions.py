"""Node: a process that runs a ROS node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launch.actions.execute_process import ExecuteProcess
from launch.launch_context import LaunchContext
from launch.subset import refuse_others
from launch.substitution import SomeSubstitutionsType, perform_text
from launch_ros.parameters import parameter_files
from launch_ros.substitutions import ExecutableInPackage

__all__ = ["Node"]
__getattr__ = refuse_others(__name__)


class Node(ExecuteProcess):
    """Runs an executable of a package as a ROS node.

    Args:
        executable: its name in the package, or its path where no package is given.
        package: where to find it.
        name: of the node; what the executable chose when left out.
        namespace: of the node; made absolute.
        parameters: paths of YAML files, and dictionaries of names and values; later ones win.
        remappings: pairs of names, from and to.
        arguments: for the executable.
        ros_arguments: for ROS, as after ``--ros-args``.
        kwargs: those of ExecuteProcess: condition, output, respawn, respawn_delay, additional_env, on_exit, ...
    """

    def __init__(
        self,
        *,
        executable: SomeSubstitutionsType,
        package: SomeSubstitutionsType | None = None,
        name: SomeSubstitutionsType | None = None,
        namespace: SomeSubstitutionsType | None = None,
        exec_name: SomeSubstitutionsType | None = None,
        parameters: Iterable[Any] | None = None,
        remappings: Iterable[tuple[SomeSubstitutionsType, SomeSubstitutionsType]] | None = None,
        arguments: Iterable[SomeSubstitutionsType] | None = None,
        ros_arguments: Iterable[SomeSubstitutionsType] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(parameters, str):
            raise TypeError(f"Node: expected a list of parameter files and dictionaries, got {parameters!r}")
        path = executable if package is None else ExecutableInPackage(executable=executable, package=package)
        super().__init__(cmd=[path, *(arguments or ())], name=exec_name, **kwargs)
        self._node_name, self._namespace = name, namespace
        self._parameters = list(parameters or ())
        self._remappings = list(remappings or ())
        self._ros_arguments = list(ros_arguments or ())

    def command(self, context: LaunchContext) -> list[str]:
        """The executable, its arguments, and those for ROS."""
        command = [*super().command(context), "--ros-args"]
        command += [perform_text(context, argument) for argument in self._ros_arguments]
        name = None if self._node_name is None else perform_text(context, self._node_name)
        namespace = None if self._namespace is None else "/" + perform_text(context, self._namespace).strip("/")
        if name is not None:
            command += ["-r", f"__node:={name}"]
        if namespace is not None:
            command += ["-r", f"__ns:={namespace}"]
        # Parameters are only addressed to a node whose full name is known; else whoever runs reads them.
        full_name = "/**" if name is None or namespace is None else f"{namespace.rstrip('/')}/{name}"
        for file in parameter_files(context, self._parameters, full_name):
            command += ["--params-file", str(file)]
        for source, target in self._remappings:
            command += ["-r", f"{perform_text(context, source)}:={perform_text(context, target)}"]
        return command
