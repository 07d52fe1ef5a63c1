"""What a network returns for one image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RawHeads:
    """
    The raw output of a network, the same from every engine.

    :ivar logits: ``(P, C + 1)`` float32, column 0 the background.
    :ivar offsets: ``(P, 4)`` float32, relative to the priors.
    """

    logits: NDArray[np.float32]
    offsets: NDArray[np.float32]
