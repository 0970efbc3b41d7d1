"""`knowfree augment` in this process."""

from click.testing import CliRunner

import knowfree


def call(*arguments: object, code: int = 0) -> str:
    """`knowfree augment ARGUMENTS`: what it prints; it must end with `code`."""
    result = CliRunner().invoke(knowfree.cli, ["augment", *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output
