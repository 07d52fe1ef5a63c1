"""Report the health of a camera."""

from collections.abc import Sequence

from mnssd_perception.ros.diagnostics import Condition, ERROR, Report, STALE
from mnssd_perception.sources import FrameSource

# A camera that is silent for longer has failed, although its read has not returned yet [s].
SILENT_AFTER = 3.0


def make_report(
    source: FrameSource,
    *,
    rate: float,
    silence: float,
    waiting_for: str,
    has_ended: bool,
    conditions: Sequence[Condition] = (),
) -> Report:
    """
    Make the report of the camera node.

    :param rate: frames per second in the last period [Hz].
    :param silence: time since the last image, or since the start [s].
    :param waiting_for: what the camera is waiting for; '' while it plays.
    :param conditions: of its topics.
    """
    problem = []
    if source.fault:
        problem = [Condition('source', ERROR, source.fault)]
    elif silence > SILENT_AFTER and not has_ended:
        if waiting_for:
            problem = [Condition('waiting', STALE, f'waiting for {waiting_for}')]
        elif source.rate is None:
            message = f"no image from '{source.uri}' for {silence:.0f} s"
            problem = [Condition('source', ERROR, message)]
    values = {
        'source': source.uri,
        'frames/s': f'{rate:.1f}',
        'frames': source.num_frames,
        'retries': source.num_retries,
    }
    summary = 'the source has ended' if has_ended else f'{rate:.1f} frames/s'
    return Report(summary, (*problem, *conditions), values)
