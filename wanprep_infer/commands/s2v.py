"""`wanprep-infer s2v`."""

from __future__ import annotations

from wanprep_infer.commands.common import job_command
from wanprep_infer.s2v.settings import S2VSettings

_HELP = """Have a picture's character speak or sing: from sound, picture and prompt, and a pose video if there is one.

Stop it any time; the same command goes on. A video that is there and was made from the same is not made again.
"""

s2v = job_command("s2v", S2VSettings, _HELP)
