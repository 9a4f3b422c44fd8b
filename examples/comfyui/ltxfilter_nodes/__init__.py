"""Nodes of ltxfilter for ComfyUI: copy this folder into ComfyUI/custom_nodes."""

from ltxfilter.adapters.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
