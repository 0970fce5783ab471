"""A lifecycle node for tests of the node idiom and of the manager; its parameters say what goes wrong with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass

from std_msgs.msg import String

from clar.node import Health, LifecycleNode
from clar.parameters import LifecycleParameters, parameter
from clar.process import run_node


@dataclass(frozen=True, kw_only=True)
class ExampleParameters(LifecycleParameters):
    """What the example does."""

    refuses: str = parameter("", "Hook that refuses.")
    breaks: str = parameter("", "Hook with a defect.")
    input_topic: str = parameter("", "Topic that activation waits for.")
    slow_end_s: float = parameter(0.0, "How long deactivation takes.", unit="s")
    callback_fails: bool = parameter(False, "Whether a timer callback has a defect.")
    thread_fails: str = parameter("", "When a thread of its own has a defect: during activation, or after.")


class ExampleNode(LifecycleNode):
    """Says what happens to it."""

    node_name = "example"
    parameters_type = ExampleParameters

    def configure(self) -> None:
        """Refuse, break, or wait for an input."""
        self._perhaps_fail("configure")
        self._input: str | None = None
        if self.parameters.input_topic:
            self.create_subscription(String, self.parameters.input_topic, self._on_input, 1)
        self.on_release(lambda: print(f"released configure, topics {self._own_topics()}", flush=True))

    def waiting_for(self) -> str:
        """The input."""
        return "" if self._input is not None or not self.parameters.input_topic else "an input"

    def activate(self) -> None:
        """Publish."""
        self._perhaps_fail("activate")
        self.create_publisher(String, "streaming", 1)
        self.on_release(lambda: print(f"released activate, topics {self._own_topics()}", flush=True))
        if self.parameters.callback_fails:
            self.create_timer(0.05, lambda: print([][0]))
        if self.parameters.thread_fails:
            self.in_thread("example", self._fail)
            while self.parameters.thread_fails == "during" and not self.stop_requested.is_set():
                time.sleep(0.01)
        print(f"active, topics {self._own_topics()}", flush=True)

    def deactivate(self) -> None:
        """Take a while, with a context that still works."""
        if self.parameters.slow_end_s:
            print("deactivates", flush=True)
            time.sleep(self.parameters.slow_end_s)
        self._perhaps_fail("deactivate")
        print(f"deactivated, context {self.context.ok()}", flush=True)

    def cleanup(self) -> None:
        """Say so."""
        print("cleaned up", flush=True)

    def health(self) -> Health:
        """With a figure."""
        return Health(message="fine", values={"figure": 1.25})

    def _on_input(self, message: String) -> None:
        self._input = message.data
        if message.data == "crash":
            os.kill(os.getpid(), signal.SIGKILL)

    def _fail(self) -> None:
        while self.parameters.thread_fails == "after" and not self.active:
            time.sleep(0.01)
        print([][0])

    def _perhaps_fail(self, hook: str) -> None:
        if self.parameters.refuses == hook:
            raise ValueError(f"{hook}: expected a cell file, found none; write one")
        if self.parameters.breaks == hook:
            raise TypeError("a defect")

    def _own_topics(self) -> list[str]:
        return [p.topic_name for p in self.publishers if p.topic_name == "/streaming"]


def main() -> int:
    """Run the example."""
    return run_node(ExampleNode, shutdown_limit_s=1.0)


if __name__ == "__main__":
    sys.exit(main())
