"""What a source carries beside samples and copied streams, and what becomes of each item.

A source lists its items once, when it is opened (`Source.carries`). One table in `items.py` says
which targets keep which kind; `opening.open_sink` names all others, a line each, before work.
"""
