"""Containers, in files and on pipes: the source and the sink that PyAV serves."""

from ltxfilter.media.container.sink import ContainerSink
from ltxfilter.media.container.source import ContainerSource

__all__ = ["ContainerSink", "ContainerSource"]
