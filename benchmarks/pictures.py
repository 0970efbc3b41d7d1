"""Pictures of the report, the review page and the page of `data check`, as a browser on a phone, a tablet and a desk
shows them: the files of docs/images. Fails where a page is wider than its window.

python -m benchmarks.pictures runs/demo-zh docs/images        after `make demo`; `--print` writes the printed pages too
"""

import io
import tempfile
from pathlib import Path

import click
from click.testing import CliRunner
from knowfree_experiments.report.report import write_report
from PIL import Image
from playwright.sync_api import sync_playwright

import knowfree
from tests.support.browser import chromium
from tests.support.space_driver import CHROMIUM_ARGUMENTS

WIDTHS = {"360": "light", "768": "dark", "1440": "light"}
TALLEST = {"360": 1600, "768": 1200, "1440": 1400}  # pixels of a picture
# Parts to show from, and what to open there.
PARTS = {"report": ("#scores", "#examples"), "review": ("body",), "data": ("body",)}


def pages(run: Path, work: Path) -> dict[str, Path]:
    """The three pages of a finished run."""
    made = {name: work / f"{name}.html" for name in PARTS}
    write_report(run, made["report"])
    data = next((run / "augmented").glob("train.jsonl"))
    for command in (
        ["augment", "review", run / "augmented", "--output", made["review"], "--limit", "40"],
        ["data", "check", data, "--html", made["data"]],
    ):
        result = CliRunner().invoke(knowfree.cli, [str(part) for part in command])
        if result.exit_code:
            raise click.ClickException(result.output)
    return made


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--print", "printed", is_flag=True, help="Also PAGE.pdf, the pages as they are printed.")
def main(run: Path, output: Path, printed: bool) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as session:
        browser = session.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        for name, path in pages(run, Path(work)).items():
            for width, scheme in WIDTHS.items():
                page = browser.new_page(viewport={"width": int(width), "height": 900}, color_scheme=scheme)
                page.set_default_timeout(180_000)
                page.goto(path.as_uri())
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > int(width):
                    raise click.ClickException(f"{name} is {wide} pixels wide in a window of {width}")
                shown = Image.open(io.BytesIO(page.screenshot(full_page=True)))
                parts = []
                for selector in PARTS[name]:
                    top = page.locator(selector).first.evaluate("each => each.getBoundingClientRect().top + scrollY")
                    tall = TALLEST[width] // len(PARTS[name])
                    parts.append(shown.crop((0, int(top), shown.width, min(shown.height, int(top) + tall))))
                picture = Image.new("RGB", (int(width), sum(part.height for part in parts)))
                at = 0
                for part in parts:
                    picture.paste(part, (0, at))
                    at += part.height
                file = output / f"{name}-{width}.webp"
                picture.save(file, quality=60, method=6)
                click.echo(f"{file}: {file.stat().st_size >> 10} KB")
                page.close()
            if printed:
                page = browser.new_page()
                page.set_default_timeout(180_000)
                page.goto(path.as_uri())
                page.pdf(path=output / f"{name}.pdf", format="A4")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
