"""Retargeting: the driving person's motion with the reference character's bone lengths, on the reference's canvas."""

from wanprep.animate.retarget.edit import Instruction, edit_instruction
from wanprep.animate.retarget.fit import Fit, Retargeted
from wanprep.animate.retarget.retarget import fit, move, retarget

__all__ = ["Fit", "Instruction", "Retargeted", "edit_instruction", "fit", "move", "retarget"]
