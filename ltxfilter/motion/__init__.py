"""Pure maths of motion: flow, warp, splat, occlusion; knows no media and no engine."""
