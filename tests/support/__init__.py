"""What tests share: clips, pipes, streams of made pictures, tiny LTX-2 checkpoints."""
