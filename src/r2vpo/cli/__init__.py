"""The command line: parse arguments, call the library, and report errors in one line."""
