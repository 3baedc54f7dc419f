"""The command line: one file a subcommand. It parses and prints; the library does the work."""
