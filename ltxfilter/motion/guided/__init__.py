"""Motion along guide pictures: what keyframes and guides say of the pictures between."""
