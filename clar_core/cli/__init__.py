"""The command ``clar``: one file a subcommand, imported when it is called and not before."""
