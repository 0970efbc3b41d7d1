"""KnowFREE in a browser. Runs as a Space as it is; in a checkout it shows the demo run's models."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import time
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, Literal

import formats
import gradio as gr
import torch
from files import (
    AUTOMATIC,
    LARGEST_FILE,
    MOST_ROWS,
    SPAN_COLUMNS,
    TEXT_LINES,
    Refused,
    check_text,
    read_upload,
    to_csv,
    to_json,
    to_json_lines,
)
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from limits import Limits
from panels import STYLE, draw, extension_scores, no_model, visible
from starlette.middleware import Middleware
from tagger import FLOOR, Prediction, Tagger, load_taggers
from turns import Superseded, Turns

EXAMPLES = [
    "We lost the blazes near Harrow Creek, and my trekking poles snapped on the ice at dusk.",
    "A black bear and two cubs crossed the ridge trail on 4 July; deep snow on the north pass.",
    "今天下午张三去北京大学医院，李四在东北大学地铁站。",
    "我们一起在嘉鱼",
]
AT_ONCE = 2  # requests that run a model at the same time, each on its share of the cores
VIEWS_AT_ONCE = 8  # changes of threshold and the like, which seldom run a model
MOST_WAITING = 100  # requests in the queue
MOST_SESSIONS = 300  # whose state is kept, 80 KB each; every call of the API is one
MOST_SECONDS = 300  # of a text; of a file, after which what is tagged so far is the answer
PARTS_WITH_PROGRESS = 16  # windows of a text from which on a bar shows how far it is
ROWS_A_STEP = 16  # of a file, between two moves of the progress bar
MOST_TABLE_ROWS = 500
OWN_DECODING = "model's own"
MODES = ["flat", "nested", "all"]
NOTHING = ("", 0)  # to show: a text and the number of the request for it
BY_SPAN, BY_LABEL = "each span", "mean of each label"

Found = list[tuple[Tagger, list[Prediction]]]
Progress = Callable[[int, int], Any]


def build() -> gr.Blocks:
    """The page of the models that `load_taggers` finds."""
    taggers, problems = load_taggers()
    # Files made for downloads go after an hour.
    with gr.Blocks(title="KnowFREE", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("# KnowFREE\nSpan tagging from few labelled sentences: nested spans, in any language of the model.")
        if not taggers:
            gr.HTML(no_model(problems))
            return page
        if problems:
            gr.HTML("".join(f"<p>{escape(visible(problem))}</p>" for problem in problems))
        _fill(Desk(taggers))
    return page


def _fill(desk: "Desk") -> None:
    names = list(desk.taggers)
    with gr.Row(equal_height=False):
        models = gr.CheckboxGroup(
            names,
            value=names[:3],
            label="Models, side by side",
            visible=len(names) > 1,
            min_width=260,
            elem_id="models",
        )
        threshold = gr.Slider(
            0,  # also what is typed on the way to another number
            0.95,
            value=desk.default_threshold,
            step=0.01,
            label="Threshold",
            info=f"least probability of a span, from {FLOOR} up",
            min_width=260,
            elem_id="threshold",
        )
        decoding = gr.Radio(
            [OWN_DECODING, *MODES], value=OWN_DECODING, label="Overlap", info="which spans may overlap", min_width=260
        )
    settings = [threshold, decoding, models]
    with gr.Tab("Text"):
        text = gr.Textbox(label="Text", lines=4, max_lines=12, placeholder="Write or paste a text", elem_id="text")
        examples = gr.Examples([[example] for example in EXAMPLES], [text], label="Or choose one", cache_examples=False)
        button = gr.Button("Tag", variant="primary", elem_id="tag")
        beside = gr.Checkbox(
            label="Extension labels too",
            info="what the model learnt beside its targets: drawn dashed, no part of its answer",
            visible=desk.has_extensions,
            elem_id="beside",
        )
        shown, turns = gr.State(NOTHING), gr.State(Turns())
        drawn = gr.HTML(elem_id="drawn")
        table = gr.Dataframe(
            headers=["model", *SPAN_COLUMNS], datatype=["str", "number", "number", "str", "number", "str"],
            label=f"Spans: characters [start, end); the first {MOST_TABLE_ROWS}",
            interactive=False, elem_id="spans", type="array",
        )  # fmt: skip
        with gr.Row():
            as_json = gr.DownloadButton("Download JSON", interactive=False, elem_id="json")
            as_csv = gr.DownloadButton("Download CSV", interactive=False, elem_id="csv")
        with gr.Accordion("Extension scores behind the predictions", open=False, visible=desk.has_extensions):
            columns = gr.Radio([BY_SPAN, BY_LABEL], value=BY_SPAN, label="Columns")
            extensions = gr.HTML(elem_id="extensions")
        results = [drawn, table, as_json, as_csv, extensions]
        limits: dict[str, Any] = {"concurrency_id": "models", "concurrency_limit": AT_ONCE, "api_visibility": "private"}
        for event in (button.click, text.submit, examples.load_input_event.then):
            asked = event(
                desk.accept, [text, models, turns], [shown], show_progress_on=drawn, trigger_mode="multiple", **limits
            )
            # What is refused leaves no results of another text beside its message.
            asked.failure(lambda: NOTHING, None, shown, api_visibility="private")
        # One event for all that changes the results: an older answer never arrives after a newer one.
        gr.on(
            [shown.change, threshold.change, decoding.change, models.change, columns.change, beside.change],
            desk.show, [shown, *settings, columns, beside], results,
            show_progress="hidden", trigger_mode="always_last", api_visibility="private",
            concurrency_id="views", concurrency_limit=VIEWS_AT_ONCE,
        )  # fmt: skip
    with gr.Tab("File"):
        gr.Markdown(
            "A `.txt` file, a text on each line; JSON, a list or lines, of "
            '`{"text": "…"}` or `{"tokens": ["…", "…"]}`; or annotated text in any format that the project reads '
            f"(CoNLL, doccano, Label Studio, Parquet, …), whose texts are tagged anew. Up to {MOST_ROWS:,} texts and "
            f"{LARGEST_FILE >> 20} MiB."
        )
        with gr.Row():
            file = gr.File(label="File", height=140, elem_id="file")
            kind = gr.Dropdown(
                [AUTOMATIC, TEXT_LINES, *formats.names()], value=AUTOMATIC, label="Format", elem_id="format"
            )
        with gr.Row():
            start = gr.Button("Tag file", variant="primary", elem_id="tag-file")
            stop = gr.Button("Stop", variant="stop")
        state = gr.Markdown(elem_id="state")
        with gr.Row():
            lines = gr.DownloadButton("Download JSON lines", interactive=False, elem_id="jsonl")
            sheet = gr.DownloadButton("Download CSV", interactive=False, elem_id="sheet")
        preview = gr.Dataframe(
            headers=["id", "model", *SPAN_COLUMNS],
            datatype=["str", "str", "number", "number", "str", "number", "str"],
            label=f"First {MOST_TABLE_ROWS} spans", interactive=False, elem_id="preview", type="array",
        )  # fmt: skip
        # The buttons apart from the run itself, whose answers are those of the API: before it and after it.
        closed = start.click(
            lambda: [gr.DownloadButton(interactive=False)] * 2, None, [lines, sheet], api_visibility="private"
        )
        run = closed.then(
            desk.tag_file, [file, *settings, kind], [state, lines, sheet, preview],
            **{**limits, "api_visibility": "public"}, api_name="tag_file",
        )  # fmt: skip
        run.success(lambda: [gr.DownloadButton(interactive=True)] * 2, None, [lines, sheet], api_visibility="private")
        stop.click(lambda: "Stopped; nothing is kept.", None, state, cancels=[run], api_visibility="private")
    gr.api(desk.tag, api_name="tag", concurrency_id="models", concurrency_limit=AT_ONCE)
    gr.api(desk.extensions, api_name="extensions", concurrency_id="models", concurrency_limit=AT_ONCE)
    gr.api(desk.models, api_name="models")


def _nothing() -> tuple[Any, ...]:
    """The outputs of the text tab where there is nothing to show."""
    return "", [], gr.DownloadButton(interactive=False), gr.DownloadButton(interactive=False), ""


class Desk:
    """What the page and its API do with the models."""

    def __init__(self, taggers: list[Tagger]):
        self.taggers = {tagger.name: tagger for tagger in taggers}
        self.default_threshold = min(max(taggers[0].config.threshold, FLOOR), 0.95)
        self.has_extensions = any(tagger.config.extension_labels for tagger in taggers)

    def accept(
        self, text: str, names: list[str], turns: Turns, progress: Any = gr.Progress()  # noqa: B008
    ) -> Any:  # fmt: skip
        """The text to show, if it is one, once the models have read it; numbered, so that each time is a new one.
        Nothing new where the visitor has asked for another text meanwhile."""
        turn = turns.take()
        move = _bar(progress)

        def look(done: int, parts: int) -> None:
            turns.check(turn)
            move(done, parts)

        try:
            check_text(text)
            if text.strip():
                self._tag(text, self.default_threshold, None, names, look)
            turns.check(turn)
        except Superseded:
            return gr.skip()
        except Refused as error:
            raise _message(error) from error
        return text, turn

    def show(
        self, shown: tuple[str, int], threshold: float, decoding: str, names: list[str], columns: str, beside: bool
    ) -> tuple[Any, ...]:
        """All outputs of the text tab; no encoder runs where the text was tagged before."""
        text, _ = shown
        if not text.strip():
            return _nothing()
        threshold, mode = max(FLOOR, threshold), _mode(decoding)
        try:
            found = self._tag(text, threshold, mode, names)
        except gr.Error as refused:  # told beside nothing, not beside what was found with other settings
            gr.Warning(refused.message)
            return _nothing()
        rows = [[name, *span.values()] for name, spans in _plain(text, found).items() for span in spans]
        answer = {"text": text, "threshold": threshold, "decoding": mode, "models": _plain(text, found)}
        more = [(tagger, tagger.extensions(text, threshold, mode)) for tagger, _ in found] if beside else []
        if beside:
            answer["extensions"] = _plain(text, more)
        return (
            draw(text, found, [spans for _, spans in more]),
            [_cells(row) for row in rows[:MOST_TABLE_ROWS]],
            gr.DownloadButton(value=_file("knowfree.json", to_json(answer)), interactive=True),
            gr.DownloadButton(value=_file("knowfree.csv", to_csv(["model", *SPAN_COLUMNS], rows)), interactive=True),
            extension_scores(text, found, columns == BY_LABEL),
        )

    def tag(
        self,
        text: str,
        threshold: float | None = None,
        decoding: Literal["flat", "nested", "all"] | None = None,
        models: list[str] | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """
        Tag one text.

        Args:
            text: up to 50,000 characters.
            threshold: least probability of a span, from 0.05 up; default the first model's own.
            decoding: which spans may overlap: flat, nested, all; default each model's own.
            models: names as `/models` gives them; default all.

        Returns:
            For each model its spans: start, end (characters, end exclusive), label, score, word.
        """
        return _plain(text, self._ask(text, threshold, decoding, models))

    def extensions(
        self,
        text: str,
        threshold: float | None = None,
        decoding: Literal["flat", "nested", "all"] | None = None,
        models: list[str] | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """
        What the models learnt beside their targets: the spans of extension labels in one text.

        Args:
            text, threshold, decoding, models: as `/tag` takes them.

        Returns:
            For each model its spans as `/tag` gives them; none of a model without extension labels.
        """
        least = self.default_threshold if threshold is None else threshold
        found = self._ask(text, threshold, decoding, models)
        blank = not text.strip()
        return _plain(text, [(t, [] if blank else t.extensions(text, least, decoding)) for t, _ in found])

    def _ask(self, text: Any, threshold: Any, decoding: Any, models: Any) -> Found:
        """One text of the API, its arguments checked."""
        try:
            if not isinstance(text, str):
                raise Refused("text: give a string.")
            check_text(text)
            threshold, names = self._checked(threshold, decoding, models)
            if not text.strip():
                return [(tagger, []) for tagger in self._chosen(names)]
        except Refused as error:
            raise _message(error) from error
        return self._tag(text, threshold, decoding, names, _deadline())

    def _checked(self, threshold: Any, decoding: Any, models: Any) -> tuple[float, list[str]]:
        """The threshold and the models' names that a call of the API means."""
        threshold = self.default_threshold if threshold is None else threshold
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not FLOOR <= threshold < 1:
            raise Refused(f"threshold: give a probability from {FLOOR} up, below 1.")
        if decoding not in (None, *MODES):
            raise Refused(f"decoding: choose one of {', '.join(MODES)}.")
        if models is not None and not (isinstance(models, list) and all(isinstance(name, str) for name in models)):
            raise Refused("models: give a list of names.")
        return threshold, list(self.taggers) if models is None else models

    def models(self) -> dict[str, dict[str, Any]]:
        """The models by name: their target labels, unit of annotation, threshold, decoding, extension labels."""
        return {
            name: {
                "labels": tagger.config.target_labels,
                "unit": tagger.config.unit,
                "threshold": tagger.config.threshold,
                "decoding": tagger.config.decoding,
                "extension_labels": tagger.config.extension_labels,
            }
            for name, tagger in self.taggers.items()
        }

    def tag_file(
        self, path: str | None, threshold: float, decoding: str, names: list[str], format: str = AUTOMATIC,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        """Tag the texts of a file: a message, the spans as JSON lines and as CSV, a preview."""
        mode = _mode(decoding)
        yield "", None, None, []
        tagged: list[dict[str, Any]] = []
        done, deadline = 0, time.monotonic() + MOST_SECONDS
        try:
            if path is None:
                raise Refused("Choose a file first.")
            threshold, names = self._checked(threshold, mode, names)
            chosen = self._chosen(names)
            units = dict.fromkeys(tagger.config.unit for tagger in chosen)
            by_unit = {unit: read_upload(path, format, unit) for unit in units}
            rows = next(iter(by_unit.values()))
            steps = [(at, tagger) for at in range(0, len(rows), ROWS_A_STEP) for tagger in chosen]
            for at, tagger in progress.tqdm(steps, desc=f"{len(rows):,} texts", unit="steps"):
                if time.monotonic() > deadline and tagger is chosen[0]:
                    break
                chunk = by_unit[tagger.config.unit][at : at + ROWS_A_STEP]
                found = tagger.tag_batch(chunk, threshold, mode)
                tagged += [
                    {"id": row["id"], "model": tagger.name, **row, "entities": spans}
                    for row, spans in zip(chunk, found, strict=True)
                ]
                done = at + len(chunk)
                yield f"{done:,} of {len(rows):,} texts", gr.skip(), gr.skip(), gr.skip()
        except ValueError as error:
            raise _message(error) from error
        spans = [[row["id"], row["model"], *span.values()] for row in tagged for span in row["entities"]]
        yield (
            f"{done:,} texts, {len(spans):,} spans." + _cut_short(done, len(rows)),
            _file("knowfree.jsonl", to_json_lines(tagged)),
            _file("knowfree.csv", to_csv(["id", "model", *SPAN_COLUMNS], spans)),
            [_cells(span) for span in spans[:MOST_TABLE_ROWS]],
        )

    def _tag(
        self, text: str, threshold: float, decoding: str | None, names: list[str], progress: Progress | None = None
    ) -> Found:
        try:
            return [(tagger, tagger.tag(text, threshold, decoding, progress)) for tagger in self._chosen(names)]
        except ValueError as error:  # such as a word longer than the encoder reads
            raise _message(error) from error

    def _chosen(self, names: list[str]) -> list[Tagger]:
        unknown = [name for name in names if name not in self.taggers]
        if unknown:
            raise Refused(f"No model {unknown[0]!r:.80} here; there are: {', '.join(self.taggers)}.")
        if not names:
            raise Refused("Choose at least one model.")
        return [self.taggers[name] for name in names]


def _deadline() -> Progress:
    """Ends a text that takes too long."""
    end = time.monotonic() + MOST_SECONDS

    def check(done: int, parts: int) -> None:
        if done < parts and time.monotonic() > end:
            raise Refused(f"This text takes more than {MOST_SECONDS // 60} minutes here: send it in parts.")

    return check


def _bar(progress: Any) -> Progress:
    """A progress bar of a long text, with the deadline."""
    check = _deadline()

    def move(done: int, parts: int) -> None:
        check(done, parts)
        if parts >= PARTS_WITH_PROGRESS:
            progress((done, parts), desc="Reading the text", unit="parts")

    return move


def _cut_short(done: int, texts: int) -> str:
    if done == texts:
        return ""
    return f" The other {texts - done:,} would take more than {MOST_SECONDS // 60} minutes: send them as another file."


def _mode(decoding: str) -> str | None:
    return None if decoding == OWN_DECODING else decoding


def _plain(text: str, found: Found) -> dict[str, list[dict[str, Any]]]:
    return {
        tagger.name: [
            {"start": p.start, "end": p.end, "label": p.label, "score": p.score, "word": text[p.start : p.end]}
            for p in predictions
        ]
        for tagger, predictions in found
    }


def _cells(row: list[Any]) -> list[Any]:
    shown = [round(cell, 4) if isinstance(cell, float) else cell for cell in row]
    return [visible(cell) if isinstance(cell, str) else cell for cell in shown]


def _file(name: str, data: bytes) -> str:
    return save_bytes_to_cache(data, name, get_upload_folder())


def _message(error: Exception) -> gr.Error:
    # gr.Error shows HTML; what was sent may be quoted in it.
    return gr.Error(escape(visible(str(error))), duration=None, print_exception=False)


def _theme() -> gr.themes.Base:
    """Gradio's own, with the system's fonts, since nothing is fetched from elsewhere, and more contrast."""
    theme = gr.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_cancel_background_fill="*neutral_200",
        button_cancel_background_fill_dark="*neutral_700",
        button_cancel_text_color="*neutral_900",
        button_cancel_text_color_dark="*neutral_100",
    )


def main() -> None:
    """Serve the page; address and port as gradio's environment variables say."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // AT_ONCE))
    page = build()
    page.queue(max_size=MOST_WAITING, api_open=False)
    page.launch(
        theme=_theme(),
        css=STYLE,
        max_file_size=LARGEST_FILE,
        app_kwargs={"middleware": [Middleware(Limits, largest=2 * LARGEST_FILE)]},
        state_session_capacity=MOST_SESSIONS,
        run_history=False,
        ssr_mode=False,
        footer_links=["api", "settings"],
    )


if __name__ == "__main__":
    main()
