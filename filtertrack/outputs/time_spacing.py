"""How the snapshots of an animation are spaced in time: the choices of its option ``time``.

Importing this module loads no numpy, so ``filtertrack --help`` stays fast.
"""

from typing import Literal, get_args

Time = Literal["snapshot", "epoch", "log"]
TIMES: tuple[Time, ...] = get_args(Time)
