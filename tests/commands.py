"""Run commands in this process as `songfoundry.cli.main` does, and list what they left."""

from typer.testing import CliRunner

from songfoundry import cli
from songfoundry.errors import SongfoundryError


def run_command(*arguments) -> tuple[int, str, str]:
    """Run a command; give its exit code, its standard output and its standard error."""
    done = CliRunner().invoke(cli.app, [*map(str, arguments)])
    if isinstance(done.exception, SongfoundryError):
        return 2, done.stdout, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def files(folder) -> list[str]:
    """List the files below a folder, sorted, with their paths from it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
