"""Keeps the memory of large images in the process between frames."""

import ctypes

# From glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3

MIB = 2**20


def keep_freed_blocks() -> bool:
    """
    Tell glibc not to give blocks of the size of an image back to the kernel.

    By default every frame's buffers are mapped and unmapped, and the kernel clears each page
    anew: half of the time that a raw 720p image takes through rclpy. Call it once, early. The
    price is that freed memory stays with the process.

    :return: whether it took effect; other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # 32 MiB is the most that glibc accepts; larger blocks than an 8K image stay mapped.
    return bool(mallopt(M_MMAP_THRESHOLD, 32 * MIB) and mallopt(M_TRIM_THRESHOLD, 512 * MIB))
