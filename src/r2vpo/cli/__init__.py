"""The command line: it parses, calls, and says what went wrong in one line. No mathematics."""
