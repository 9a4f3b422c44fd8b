"""Containers, in files and on pipes: the source and the sink that PyAV serves."""

from ltxfilter.media.container_sink import ContainerSink
from ltxfilter.media.container_source import ContainerSource

__all__ = ["ContainerSink", "ContainerSource"]
