"""The library espeak-ng, as the wheel espeakng-loader brings it: loaded and started once a process.

It keeps one voice and one set of parameters for the whole process and is not safe between threads.
Who calls it holds `LOCK`, and sets the voice before each call.
"""

import ctypes
import threading
from functools import cache

from warmstart.run.errors import UserError

LOCK = threading.RLock()

# espeak-ng/speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS
_SYNCHRONOUS = 2


@cache
def library() -> tuple[ctypes.CDLL, int]:
    """The library, and the sample rate of its speech in Hz.

    Raises:
        UserError: espeak-ng does not start.
    """
    import espeakng_loader

    loaded = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = loaded.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate <= 0:
        raise UserError("espeak-ng does not start; reinstall the package espeakng-loader")
    loaded.espeak_TextToPhonemes.restype = loaded.espeak_Info.restype = ctypes.c_char_p
    return loaded, rate


def version() -> str:
    """Of espeak-ng itself, e.g. `1.52.0`.

    Raises:
        UserError: espeak-ng does not start.
    """
    with LOCK:
        return library()[0].espeak_Info(None).decode()
