"""Provide a lifecycle node that survives invalid requests and failing transitions."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
import traceback
from typing import Any

from lifecycle_msgs.srv import ChangeState
from mnssd_perception.errors import MnssdError
from mnssd_perception.text import sanitize_text
from rclpy._rclpy_pybind11 import RCLError
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn


class ManagedNode(LifecycleNode):
    """
    A lifecycle node whose transitions may raise.

    rclpy 7.1 raises out of the executor when a transition is requested that is not valid in the
    current state, and drops what a transition callback raises. Here the first is answered with
    ``success=False``, and the second is kept in :attr:`transition_error`:

    - configuring fails: what was created is released, and the node stays unconfigured;
    - activating fails: it is undone, and the node stays inactive;
    - any other transition fails: everything is deactivated and released, and the node is
      unconfigured, or finalized where even that fails.

    In subclasses :meth:`deactivate` and :meth:`release` do nothing if there is nothing to undo.

    :ivar transition_error: why the last transition failed; None once another succeeds.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.transition_error: Exception | None = None
        service = self._service_change_state
        service.callback = partial(self._on_change_state, service.callback)

    def configure(self) -> None:
        """Create everything that activation needs."""

    def activate(self) -> None:
        """Start working."""

    def deactivate(self) -> None:
        """Stop working."""

    def release(self) -> None:
        """Destroy what :meth:`configure` created."""

    def on_transition_requested(self) -> None:
        """React to a request that was answered, whether or not the state has changed."""

    def start(self) -> None:
        """Configure and activate, or raise why a transition failed."""
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                assert self.transition_error is not None  # set by the callback that failed
                raise self.transition_error

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure, or release what was created."""
        steps = self.configure, partial(LifecycleNode.on_configure, self, state)
        return self._attempt('configure', *steps, undo=self.release)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate, or undo it."""

        def undo() -> None:
            self.deactivate()
            LifecycleNode.on_deactivate(self, state)

        steps = partial(LifecycleNode.on_activate, self, state), self.activate
        return self._attempt('activate', *steps, undo=undo)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        steps = self.deactivate, partial(LifecycleNode.on_deactivate, self, state)
        return self._attempt('deactivate', *steps)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        return self._attempt('clean up', self.release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and release everything."""
        return self._attempt('shut down', self.deactivate, self.release)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and release everything after another transition has failed."""
        has_failed = self._try(self.deactivate, self.release) is not None
        return TransitionCallbackReturn.FAILURE if has_failed else TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Deactivate and release everything in any case, and destroy the node."""
        try:
            self.deactivate()
            self.release()
        finally:
            super().destroy_node()

    def _attempt(
        self, name: str, *steps: Callable[[], object], undo: Callable[[], object] | None = None
    ) -> TransitionCallbackReturn:
        error = self._try(*steps)
        if error is None:
            self.transition_error = None
            return TransitionCallbackReturn.SUCCESS
        self.transition_error = error
        if not isinstance(error, MnssdError):
            self.transition_error = MnssdError(f'cannot {name}: {type(error).__name__}: {error}')
        if undo is None or self._try(undo) is not None:
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.FAILURE

    def _try(self, *steps: Callable[[], object]) -> Exception | None:
        """Run steps and return their exception, logged with its traceback if it is unexpected."""
        try:
            for step in steps:
                step()
        except Exception as error:  # rclpy would drop it
            if not isinstance(error, MnssdError):
                self.get_logger().error(traceback.format_exc())
            return error
        return None

    def _on_change_state(
        self,
        change_state: Callable[[Any, Any], Any],
        request: ChangeState.Request,
        response: ChangeState.Response,
    ) -> ChangeState.Response:
        label = sanitize_text(request.transition.label)
        response.success = False
        if label == request.transition.label:  # rcl would print an unknown label as it is
            with suppress(RCLError):  # Kilted and later answer by themselves
                response = change_state(request, response)
        if not response.success:
            name = f'{request.transition.id} {label}'.strip()
            self.get_logger().warning(f'the requested transition {name} has failed')
        self.on_transition_requested()
        return response
