"""ltxfilter and its peers on the same clips: pictures, steadiness, CPU seconds."""
