"""A real Triton server: trying a model folder on one, and swapping versions on one that serves.

It stands above the stages, for it holds a server's answers to golden requests by ``verification``'s rules.
"""

from __future__ import annotations

from trtbuild.serving.checking import ServeCheck, ServeFinding, serve_check
from trtbuild.serving.client import Client
from trtbuild.serving.comparing import Latency, Shadow, shadow
from trtbuild.serving.copies import copied
from trtbuild.serving.environment import ServerEnvironment, installed, set_up
from trtbuild.serving.live import promote_live, rollback_live, ship_live
from trtbuild.serving.load import Load
from trtbuild.serving.rollout import Naming, Rollout, pin, roll_out
from trtbuild.serving.server import RunningServer, serving
from trtbuild.serving.tuning import Measured, Setting, Tuning, tune, write_setting

__all__ = [
    "Client", "Latency", "Load", "Measured", "Naming", "Rollout", "RunningServer", "ServeCheck", "ServeFinding",
    "ServerEnvironment", "Setting", "Shadow", "Tuning", "copied", "installed", "pin", "promote_live", "roll_out",
    "rollback_live", "serve_check", "serving", "set_up", "shadow", "ship_live", "tune", "write_setting",
]  # fmt: skip
