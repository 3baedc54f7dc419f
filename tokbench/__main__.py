"""The command line's entry point: runs a command and holds the only error handler.

Exit codes: 0 done, 1 failed, 2 usage, 3 done with failed samples, 130 interrupted (what was done is kept).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from tokbench.errors import TokbenchError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from tokbench.cli.main import cli

    try:
        code = cli.main(
            args=None if arguments is None else list(arguments), prog_name="tokbench", standalone_mode=False
        )
    except click.ClickException as err:
        err.show()
        return err.exit_code
    except TokbenchError as err:
        click.echo(f"tokbench: {err}", err=True)
        return err.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("tokbench: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; point stdout elsewhere so that the shutdown flush does not complain.
        sys.stdout = None
        return 0
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
