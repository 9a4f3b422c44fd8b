"""Single pictures for people to look at: JPEG and PNG, small or at their own size."""
