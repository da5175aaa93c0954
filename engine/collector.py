"""The garbage collector, kept off the tick path.

Messages die young and in no cycles, so reference counts free them; what lives long was made at the
start. Left alone, the collector looks at all of it again and again, and every look stops every thread.
"""

import gc
from typing import Final

# Objects made and not yet freed before a look at the youngest: some hundred ticks' worth.
YOUNG_MAX: Final = 10_000
# So many looks at one generation before one at the next.
LOOKS: Final = 20


def pause() -> None:
    """Do not look until `settle`: a start makes a hundred thousand objects that all stay."""
    gc.disable()


def settle() -> None:
    """Clean up once, take what is left out of later collections, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, LOOKS, LOOKS)
    gc.enable()
