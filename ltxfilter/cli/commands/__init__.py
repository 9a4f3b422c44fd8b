"""The subcommands: `ltxfilter engines`, `probe`, `doctor`, `context`, `jobs`, `compare`, `preview`."""
