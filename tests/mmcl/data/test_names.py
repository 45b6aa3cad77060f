import pytest

from mmcl.data.names import namesakes, plain_name, some


@pytest.mark.parametrize("other", ["Red_Fox", " red  fox ", "RED-FOX", "\uff32ed fox", "red\u00a0fox"])
def test_names_that_people_read_alike_are_one(other):
    assert plain_name(other) == plain_name("red fox")


def test_other_words_are_other_names():
    assert plain_name("red fox") != plain_name("redfox")


def test_the_first_two_names_of_one_meaning_are_found() -> None:
    assert namesakes(["owl", "fox", "crow", "Fox ", "OWL"]) == (1, 3)
    assert namesakes(["owl", "fox"]) is None
    assert namesakes([]) is None
    assert some("abcdefg") == "'a', 'b', 'c', 'd', 'e' and 2 more"
    assert some(["owl"]) == "'owl'"
