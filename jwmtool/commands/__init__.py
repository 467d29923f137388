"""One file per subcommand: parse, call one library function, report."""
