import pytest

from values.csv_cells import as_meant, harmless


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", " \uff201"]
)
def test_what_a_spreadsheet_would_compute_gets_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "鮭", "1-1", "a=b", "hana@example.com"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize("text", ["", "=1", "'=1", "''=1", " '-1", "'", "'a", "a'=1", "-", "'+8"])
def test_whoever_reads_a_cell_of_ours_gets_the_text_again(text: str) -> None:
    assert as_meant(harmless(text)) == text
