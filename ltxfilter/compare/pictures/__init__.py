"""Pictures to look at: labels, panels side by side, RGB for sheets and pages."""
