"""`evaluate` module: exact-match precision, recall and F1 of labelled spans, computed by KnowFREE's own scorer."""

import datasets
import evaluate

from .metrics import span_scores

_DESCRIPTION = """
A predicted span counts where start, end and label are all right. Nested and crossing spans, and several labels on one
span, count alike. On flat data this is seqeval's strict micro F1.
"""

_INPUTS = """
Args:
    predictions, references: for each sentence the list of its spans, `{"start": int, "end": int, "label": str}`, `end`
        exclusive, counted in whatever both sides count in; other keys are not looked at. Doubled spans count once.
Returns:
    precision, recall, f1: over all spans of all sentences (micro).
    macro_f1: mean over the labels that references or predictions have.
    gold_spans, predicted_spans, correct_spans: counts.
    per_label: by label precision, recall, f1, support and predicted.
Examples:
    >>> span_f1 = evaluate.load("span_f1")
    >>> gold = [[{"start": 0, "end": 2, "label": "LOC"}, {"start": 0, "end": 4, "label": "ORG"}]]
    >>> found = [[{"start": 0, "end": 4, "label": "ORG"}]]
    >>> span_f1.compute(predictions=found, references=gold)["recall"]
    0.5
"""

_CITATION = """
@misc{lai2025improving,
  title  = {Improving Low-Resource Sequence Labeling with Knowledge Fusion and Contextual Label Explanations},
  author = {Lai, Peichao and Gan, Jiaxin and Ye, Feiyang and Zhang, Wentao and Fu, Fangcheng and
            Wang, Yilei and Cui, Bin},
  year   = {2025}
}
"""


class SpanF1(evaluate.Metric):
    """Spans in, `span_scores` out."""

    def _info(self):
        span = {
            "start": datasets.Value("int64"),
            "end": datasets.Value("int64"),
            "label": datasets.Value("string"),
        }
        spans = datasets.List(span)
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": spans, "references": spans}),
        )

    def add_batch(self, *, predictions=None, references=None, **kwargs):
        """As `evaluate.Metric`; what spans have beside start, end and label, such as a score, is left out."""
        super().add_batch(predictions=_bare(predictions), references=_bare(references), **kwargs)

    def add(self, *, prediction=None, reference=None, **kwargs):
        """One sentence, as `add_batch`."""
        super().add(prediction=_bare([prediction])[0], reference=_bare([reference])[0], **kwargs)

    def _compute(self, predictions, references):
        return span_scores(_triples(references), _triples(predictions))


def _bare(sentences):
    return [[{key: span[key] for key in ("start", "end", "label")} for span in spans] for spans in sentences]


def _triples(sentences):
    return [[(span["start"], span["end"], span["label"]) for span in spans] for spans in sentences]
