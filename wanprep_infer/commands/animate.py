"""`wanprep-infer animate`."""

from __future__ import annotations

from wanprep_infer.animate.settings import AnimateSettings
from wanprep_infer.commands.common import job_command

_HELP = """Move a picture's character as a driving video moves, or put it in the person's place (--mode replace).

Stop it any time; the same command goes on. A video that is there and was made from the same is not made again.
"""

animate = job_command("animate", AnimateSettings, _HELP, without=("tts_command",))
