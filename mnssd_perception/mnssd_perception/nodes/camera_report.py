"""Report the health of a camera."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnssd_perception.ros.diagnostics import Condition, ERROR, Report, STALE

# A camera that is silent for longer has failed, although its read has not returned yet [s].
SILENT_AFTER = 3.0


@dataclass(frozen=True)
class CameraSnapshot:
    """
    The state of a camera at one moment.

    :ivar source: its URI, without a password.
    :ivar rate: frames per second in the last period [Hz].
    :ivar num_retries: how often the source was reopened.
    :ivar fault: why the source gives no images; '' while it does.
    :ivar silence: time since the last image, or since the start [s].
    :ivar waiting_for: what the camera is waiting for; '' while it plays.
    :ivar is_live: whether the source is a camera or a stream.
    """

    source: str
    rate: float
    num_frames: int
    num_retries: int
    fault: str
    silence: float
    waiting_for: str
    is_live: bool
    has_ended: bool


def make_report(snapshot: CameraSnapshot, conditions: Sequence[Condition]) -> Report:
    """Make the report of the camera node; the conditions are those of its topics."""
    return Report(
        'the source has ended' if snapshot.has_ended else f'{snapshot.rate:.1f} frames/s',
        (*_source_conditions(snapshot), *conditions),
        {
            'source': snapshot.source,
            'frames/s': f'{snapshot.rate:.1f}',
            'frames': snapshot.num_frames,
            'retries': snapshot.num_retries,
        },
    )


def _source_conditions(snapshot: CameraSnapshot) -> Iterator[Condition]:
    if snapshot.fault:
        yield Condition('source', ERROR, snapshot.fault)
    elif snapshot.silence > SILENT_AFTER and not snapshot.has_ended:
        if snapshot.waiting_for:
            yield Condition('waiting', STALE, f'waiting for {snapshot.waiting_for}')
        elif snapshot.is_live:
            message = f"no image from '{snapshot.source}' for {snapshot.silence:.0f} s"
            yield Condition('source', ERROR, message)
