"""The command line in this process."""

from click.testing import CliRunner

from knowfree import cli


def call(*argv: object, code: int = 0) -> str:
    """`knowfree ARGV`: what it prints, of one that fails its errors; it must end with `code`."""
    answer = CliRunner().invoke(cli, [str(each) for each in argv])
    assert answer.exit_code == code, answer.output + repr(answer.exception)
    return answer.stdout if not code else answer.stderr
