"""Judge how a camera does, for ``/diagnostics``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnssd_perception.ros.diagnostics import Condition, ERROR, Report, STALE

# A camera that is silent for longer has failed, although its read has not returned yet [s].
SILENT_AFTER = 3.0


@dataclass(frozen=True)
class CameraSnapshot:
    """
    The state of a camera at one moment.

    :ivar source: what is played, without a password.
    :ivar rate: images of the last period [Hz].
    :ivar num_frames: images so far.
    :ivar num_retries: how often the source was opened again.
    :ivar fault: why the source gives no images; '' while it does.
    :ivar silence: since the last image, or since the start [s].
    :ivar waiting: what it waits for before it plays on; '' while it plays.
    :ivar is_live: whether the images come by themselves, from a camera or a stream.
    :ivar has_ended: whether the source has played to its end.
    """

    source: str
    rate: float
    num_frames: int
    num_retries: int
    fault: str
    silence: float
    waiting: str
    is_live: bool
    has_ended: bool


def camera_report(snapshot: CameraSnapshot, transport: Sequence[Condition]) -> Report:
    """
    Make the report of the camera node.

    :param snapshot: its state.
    :param transport: what is wrong with the way to other processes.
    :return: the report.
    """
    return Report(
        'the source has ended' if snapshot.has_ended else f'{snapshot.rate:.1f} frames/s',
        (*_conditions(snapshot), *transport),
        {
            'source': snapshot.source,
            'frames/s': f'{snapshot.rate:.1f}',
            'frames': snapshot.num_frames,
            'retries': snapshot.num_retries,
        },
    )


def _conditions(snapshot: CameraSnapshot) -> Iterator[Condition]:
    """List what is wrong with the source."""
    if snapshot.fault:
        yield Condition('source', ERROR, snapshot.fault)
    elif snapshot.silence > SILENT_AFTER and not snapshot.has_ended:
        if snapshot.waiting:
            yield Condition('waiting', STALE, f'waiting for {snapshot.waiting}')
        elif snapshot.is_live:
            text = f"no image from '{snapshot.source}' for {snapshot.silence:.0f} s"
            yield Condition('source', ERROR, text)
