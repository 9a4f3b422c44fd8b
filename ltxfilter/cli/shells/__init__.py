"""What shells are told of the command line: completions and the manual page, from the flags."""
