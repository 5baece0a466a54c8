"""The command line. Nothing heavy is imported before a command needs it."""


def main() -> None:
    """Run `replibatch` with the arguments of this process, and exit."""
    from replibatch.cli.app import commands  # noqa: PLC0415  # importing the package costs nothing

    commands.main(prog_name="replibatch")
