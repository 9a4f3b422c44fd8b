"""The subcommands, one module each: `ltxfilter compare`, `context`, `doctor`, and so on."""
