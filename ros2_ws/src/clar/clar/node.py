"""The idiom that all nodes share: parameters, life cycle, diagnostics, a clean end.

A node overrides four hooks: ``configure`` (load and check), ``activate`` (connect and stream), ``deactivate`` and
``cleanup``. Whatever ROS entities a hook creates are destroyed on the way back: what ``configure`` creates lives until
cleanup, what ``activate`` creates lives until deactivation; ``on_release`` adds anything else to the same bookkeeping.
``SimpleNode`` runs the hooks by itself at start-up, ``LifecycleNode`` when its transitions are requested.

A hook refuses by raising: the message is logged (what was expected, what was found, where, what to do next), the node
goes back to where it was, the transition fails, and the process, when it ends, ends with a non-zero exit status.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import rclpy
import rclpy.lifecycle
import rclpy.node
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from clar import names, qos
from clar.parameters import LifecycleParameters, NodeParameters, declare
from clar.stop_request import StopRequest

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR

# Keys that every entry in /diagnostics has: the phase of the life cycle, and what activation still waits for.
KEY_PHASE = "phase"
KEY_WAITING = "waiting_for"

# Refusals are reported by their message; anything else is a defect and is reported with its traceback.
EXPECTED = (ValueError, OSError, LookupError, RuntimeError, ImportError)


class NodeError(RuntimeError):
    """A node refuses to go on; the message says what was expected, what was found, where, and what to do next."""


@dataclass(frozen=True)
class Health:
    """What a node says about itself once a second: a diagnostic level (OK, WARN, ERROR), a sentence, and figures."""

    level: bytes = OK
    message: str = "ok"
    values: dict[str, object] = field(default_factory=dict)


class _NodeIdiom:
    """The part that simple and lifecycle nodes share. Mixed in before an rclpy node class."""

    node_name: ClassVar[str]
    parameters_type: ClassVar[type[Any]] = NodeParameters

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(self.node_name, automatically_declare_parameters_from_overrides=True, **node_arguments)
        self.failure: str | None = None
        self.stop_requested = StopRequest()
        self._doomed = False
        self._until_cleanup = ExitStack()
        self._until_deactivate = ExitStack()
        self._scope = self._until_cleanup
        self._configured = self._active = False
        self.parameters = declare(self, self.parameters_type)  # type: ignore[arg-type]
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
        self.create_timer(self.parameters.diagnostics_period_s, self.publish_diagnostics)

    # rclpy has every endpoint watch for incompatible QoS by two entities of the executor, which goes through all of
    # them at every message: 40 % of what taking one costs. The other endpoint says the same, so these do not watch.

    def create_publisher(self, *arguments: Any, **named: Any) -> Publisher:
        """As rclpy's, without watching for incompatible QoS unless ``event_callbacks`` are given."""
        named.setdefault("event_callbacks", PublisherEventCallbacks(use_default_callbacks=False))
        return super().create_publisher(*arguments, **named)  # type: ignore[misc]

    def create_subscription(self, *arguments: Any, **named: Any) -> Subscription:
        """As rclpy's, without watching for incompatible QoS unless ``event_callbacks`` are given."""
        named.setdefault("event_callbacks", SubscriptionEventCallbacks(use_default_callbacks=False))
        return super().create_subscription(*arguments, **named)  # type: ignore[misc]

    # What a node overrides

    def configure(self) -> None:
        """Load and check everything; no streaming, no motion. Raise to refuse."""

    def activate(self) -> None:
        """Connect and stream; no motion. Raise to refuse."""

    def deactivate(self) -> None:
        """Undo what ``activate`` did beyond creating ROS entities and registering with ``on_release``."""

    def cleanup(self) -> None:
        """Undo what ``configure`` did beyond creating ROS entities and registering with ``on_release``."""

    def health(self) -> Health:
        """The state of the configured node for /diagnostics."""
        return Health()

    def waiting_for(self) -> str:
        """What has to arrive before the configured node may activate; empty when nothing is missing."""
        return ""

    # What a node uses

    @property
    def active(self) -> bool:
        """Whether the node is between ``activate`` and ``deactivate``."""
        return self._active

    @property
    def failed(self) -> bool:
        """Whether the process, if it ends now, ends with an error."""
        return self._doomed or self.failure is not None

    def on_release(self, release: Callable[[], object]) -> None:
        """Call ``release`` when the phase that the current hook opens ends: the last first, ROS entities after all."""
        self._scope.callback(release)

    def request_stop(self, failure: str | None = None) -> None:
        """End the process in good order; with ``failure`` its exit status is 1 and the sentence is logged."""
        if failure is not None:
            self._doomed = True
            self._refuse("stops", failure)
        self.stop_requested.set()

    def in_thread(self, name: str, run: Callable[[], None]) -> None:
        """Run in a daemon thread of its own. A defect in it ends the process in order: no node lives on by half."""
        threading.Thread(target=self.guarded, args=(f"thread {name}", run), name=name, daemon=True).start()

    def guarded(self, where: str, run: Callable[[], None]) -> None:
        """Run; what it raises ends the process in order, a defect with its traceback."""
        try:
            run()
        except NodeError as error:
            self.request_stop(str(error))
        except Exception as error:
            self.request_stop(f"{type(error).__name__} in {where}: {error}\n{traceback.format_exc()}")

    def publish_diagnostics(self) -> None:
        """Publish the node's health now."""
        phase = "active" if self._active else "inactive" if self._configured else "unconfigured"
        waiting = self.waiting_for() if phase == "inactive" else ""
        if self.failure:
            health = Health(ERROR, self.failure)
        elif waiting:
            health = Health(WARN, f"waiting for {waiting}")
        else:
            health = self.health() if self._configured else Health()
        values = {KEY_PHASE: phase, KEY_WAITING: waiting, **health.values}
        status = DiagnosticStatus(
            level=health.level,
            name=self.get_name(),
            message=health.message,
            values=[KeyValue(key=key, value=_as_text(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics_publisher.publish(message)

    # The phases

    def _enter(self, phase: str) -> bool:
        scope, hook = (
            (self._until_cleanup, self.configure) if phase == "configure" else (self._until_deactivate, self.activate)
        )
        try:
            with self._owning(scope):
                if phase == "activate" and (missing := self.waiting_for()):
                    raise NodeError(f"still waiting for {missing}")
                hook()
        except Exception as error:
            self._refuse(f"refuses to {phase}", error)
            scope.close()
            return False
        if not self._doomed:  # a thread of the hook's own may have failed meanwhile
            self.failure = None
        return True

    def _leave(self, hook: Callable[[], None], scope: ExitStack) -> bool:
        try:
            hook()
        except Exception as error:
            self._refuse(f"{hook.__name__} failed", error)
            return False
        finally:
            scope.close()
        return True

    def start_configured(self) -> bool:
        """Run ``configure``; False, with the reason in ``failure``, when it refuses."""
        self._configured = self._enter("configure")
        self.publish_diagnostics()
        return self._configured

    def start_active(self) -> bool:
        """Run ``activate``; False, with the reason in ``failure``, when it refuses."""
        self._active = self._enter("activate")
        self.publish_diagnostics()
        return self._active

    def end_active(self) -> bool:
        """Run ``deactivate`` when active, and release what ``activate`` acquired."""
        if not self._active:
            return True
        self._active = False
        return self._leave(self.deactivate, self._until_deactivate)

    def end_configured(self) -> bool:
        """Run ``cleanup`` when configured, and release what ``configure`` acquired."""
        if not self._configured:
            return True
        self._configured = False
        return self._leave(self.cleanup, self._until_cleanup)

    @contextmanager
    def _owning(self, scope: ExitStack) -> Iterator[None]:
        """Have every ROS entity that is created inside destroyed with the scope, after the threads that may use it."""
        before = {id(entity) for _, entity in self._entities()}
        outer, self._scope = self._scope, ExitStack()
        try:
            yield
        finally:
            releases, self._scope = self._scope, outer
            for destroy, entity in self._entities():
                if id(entity) not in before:
                    scope.callback(destroy, entity)
            scope.push(releases)

    def _entities(self) -> list[tuple[Callable[[Any], object], Any]]:
        node: Any = self
        return [
            *((node.destroy_publisher, entity) for entity in node.publishers),
            *((node.destroy_subscription, entity) for entity in node.subscriptions),
            *((node.destroy_client, entity) for entity in node.clients),
            *((node.destroy_service, entity) for entity in node.services),
            *((node.destroy_timer, entity) for entity in node.timers),
        ]

    def _refuse(self, verb: str, error: Exception | str) -> None:
        if isinstance(error, Exception) and not isinstance(error, EXPECTED):
            self.failure = f"{type(error).__name__}: {error}"
            details = "".join(traceback.format_exception(error))
            self.get_logger().error(f"{self.get_name()} {verb}: {self.failure}\n{details}")  # type: ignore[attr-defined]
        else:
            self.failure = str(error) or type(error).__name__
            self.get_logger().error(f"{self.get_name()} {verb}: {self.failure}")  # type: ignore[attr-defined]
        self.publish_diagnostics()


class SimpleNode(_NodeIdiom, rclpy.node.Node):
    """A node without a managed life cycle: it configures and activates at start-up, or its process ends."""


class LifecycleNode(_NodeIdiom, rclpy.lifecycle.LifecycleNode):
    """A managed node: its hooks run when its transitions are requested (by the manager, or ``autostart``)."""

    parameters_type: ClassVar[type[Any]] = LifecycleParameters

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition unconfigured -> inactive."""
        return _returned(self.start_configured())

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition inactive -> active."""
        return _returned(self.start_active())

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition active -> inactive."""
        return _released(self.end_active())

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition inactive -> unconfigured."""
        return _released(self.end_configured())

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to finalized, and the end of the process."""
        ended = self.end_active() & self.end_configured()
        self.stop_requested.set()
        return _released(ended)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A hook on the way down failed: everything was released all the same, so the node is unconfigured again."""
        self.end_active()
        self.end_configured()
        return TransitionCallbackReturn.SUCCESS


def _returned(success: bool) -> TransitionCallbackReturn:
    return TransitionCallbackReturn.SUCCESS if success else TransitionCallbackReturn.FAILURE


def _released(success: bool) -> TransitionCallbackReturn:
    # FAILURE would leave the state machine where it was, although everything has been released
    return TransitionCallbackReturn.SUCCESS if success else TransitionCallbackReturn.ERROR


def _as_text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
