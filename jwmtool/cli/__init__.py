"""The jwm program: lazy table of commands, shared flags, exit codes, man pages."""
