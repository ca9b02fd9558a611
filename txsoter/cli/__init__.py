"""The command ``txsoter``: one module for each of its subcommands, imported when that is chosen."""
