"""What is shown while a command runs, and at its end."""

from io import StringIO

from rich.console import Console

from consumers.cli.terminal import Stages, refusal_sentence
from pipeline.datasets.readers.options import read_options
from pipeline.datasets.refusals import Refusal, Refusals


def shown(terminal: bool) -> str:
    file = StringIO()
    with Stages(Console(file=file, force_terminal=terminal, width=100)) as stages:
        stages("reading [log]", 0, 0)
        for done in range(5):
            stages("learning", done, 4)
    return file.getvalue()


def test_a_pipe_gets_one_line_a_stage():
    assert shown(terminal=False) == "reading [log]\nlearning\n"


def test_a_person_sees_a_bar_with_its_end():
    assert "learning" in shown(terminal=True)
    assert "4/4" in shown(terminal=True)


def test_refusals_are_counted_by_reason_with_the_first_one():
    first = Refusal("bad_value", "ratings.csv", 12, "value must be a number, not '[x]'")
    sentence = refusal_sentence(Refusals({"bad_value": 1_200, "duplicate": 3}, (first,)))
    assert sentence == (
        "1,203 rows were refused (1,200 bad_value, 3 duplicate), the rest was used. "
        "The first: ratings.csv, line 12: value must be a number, not '[x]'."
    )
    assert refusal_sentence(Refusals()) == "Every row of the log was used."


def test_text_may_be_told_by_several_columns():
    assert read_options({"item_id": "sku", "text": "title, brand"}).text == ("title", "brand")
    assert read_options({"item_id": "sku"}).item_id == "sku"
    assert read_options({}).text == ()
