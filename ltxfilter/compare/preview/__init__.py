"""A few seconds of a video, before and after, side by side and slowed down."""

from ltxfilter.compare.preview.clip import PreviewOptions, make_preview

__all__ = ["PreviewOptions", "make_preview"]
