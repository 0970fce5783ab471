"""Node processes under test, and a node of the test's own to talk to them. Everything waits for conditions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

PATIENCE_S = 60.0


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """The first true value of a condition; AssertionError naming what was waited for otherwise."""
    end_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.01)


class NodeProcess:
    """One node in a process of its own, with all that it printed."""

    def __init__(self, module: str, parameters: dict[str, object], environment: dict[str, str] | None = None) -> None:
        arguments = [item for name, value in parameters.items() for item in ("-p", f"{name}:={_as_yaml(value)}")]
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--ros-args", *arguments],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", **(environment or {})},
        )

    @property
    def output(self) -> str:
        """What the process has printed so far."""
        self._output.flush()
        return Path(f"/proc/self/fd/{self._output.fileno()}").read_text()

    def wait_for_output(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Until the process has printed a text."""
        wait_for(lambda: text in self.output, f"{text!r} in the output; it is:\n{self.output}", timeout_s)

    def wait_for_exit(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit status."""
        return self.process.wait(timeout_s)

    def interrupt(self, timeout_s: float = 10.0) -> int:
        """Ctrl-C, and the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout_s)

    def post_mortem(self) -> str:
        """How the process ended, or, when it still runs, where its threads are; after what it printed. Ends it."""
        status = self.process.poll()
        if status is None:
            self.process.send_signal(signal.SIGABRT)  # has the stacks printed
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5.0)
        return f"{self.output}\n{'was still running' if status is None else f'had ended with {status}'}"

    def end(self) -> None:
        """End the process whatever it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5.0)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


@contextmanager
def node_process(
    module: str, parameters: dict[str, object] | None = None, environment: dict[str, str] | None = None
) -> Iterator[NodeProcess]:
    """A node process that is gone when the context ends. What fails meanwhile tells what the process printed."""
    process = NodeProcess(module, parameters or {}, environment)
    try:
        yield process
    except Exception as error:
        error.add_note(f"{module}:\n{process.post_mortem()}")
        raise
    finally:
        process.end()


@contextmanager
def script_process(text: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Python source in a process of its own, killed when the context ends; its output can be read."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_script(
    text: str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Python source, run to its end."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


class Probe:
    """A node of the test, spinning in a thread: publishers as usual, received messages in lists."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init()
        self.node = Node("probe", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def collect(self, kind: type, topic: str, profile: Any) -> list[Any]:
        """A list that grows with every message on a topic."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, profile)
        self._executor.wake()
        return messages

    def call(self, kind: type, name: str, request: Any, timeout_s: float = PATIENCE_S) -> Any:
        """The response of a service."""
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(timeout_s), f"nobody offers {name}"
        future = client.call_async(request)
        wait_for(future.done, f"an answer of {name}", timeout_s)
        return future.result()

    def close(self) -> None:
        """End the thread and the node; what it has latched is gone with it."""
        self.context.try_shutdown()
        self._thread.join(5.0)
        self.node.destroy_node()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()


def _as_yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_as_yaml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
