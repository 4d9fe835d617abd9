"""Optical flow, camera motion and cuts."""

from stages.flow.stage import Flow, FlowConfig

__all__ = ["Flow", "FlowConfig"]
