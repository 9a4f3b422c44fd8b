"""When frames are shown: stamps that are guessed, clocks that round, rates, cadences, jumps."""
