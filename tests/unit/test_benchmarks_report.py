"""What benchmarks write: a section each in one file, replaced where it stands."""

from __future__ import annotations

from benchmarks.report import Table, percentile, spread, with_section

FILE = "# Results\n\nWords.\n\n## first\n\nold\n\n## second\n\nkept\n"


def test_a_section_is_replaced_where_it_stands() -> None:
    assert with_section(FILE, "first", "## first\n\nnew\n") == FILE.replace("old", "new")


def test_a_new_section_comes_last() -> None:
    assert with_section(FILE, "third", "## third\n\nnew\n") == FILE + "\n## third\n\nnew\n"


def test_a_table_is_markdown_with_figures_to_the_right() -> None:
    table = Table(["", "wall, s"], [["ideal", "1.0"], ["it", "12.50"]])
    assert str(table).splitlines() == [
        "|       | wall, s |",
        "| :---- | ------: |",
        "| ideal |     1.0 |",
        "| it    |   12.50 |",
    ]


def test_a_spread_names_the_median_and_the_extremes() -> None:
    assert spread([3.0, 1.0, 1000.5]) == "3.00 (1.00-1,000.50)"
    assert spread([3.0]) == "3.00"


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(1, 201)]
    assert percentile(values, 50) == 100.0
    assert percentile(values, 99) == 198.0
    assert percentile([7.0], 99) == 7.0
