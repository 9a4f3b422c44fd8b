"""Where frames come from and go to; the only place that knows libav, pipes and pixel formats.

`base.py` is the contract; `opening.py` chooses the source and the sink. What a user should know but
need not stop for is logged as a warning on "ltxfilter.media".
"""
